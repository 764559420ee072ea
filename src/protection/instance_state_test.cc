#include "protection/instance_state.h"

#include "protection/testing/policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using enum ProtectionState;
using Event = ProtectionEvent;
using testing::at;

/// The outcome as one word: the state's wire name, "-" (nothing to do), "removed" or the error's
/// code.
std::string outcome(
    std::optional<ProtectionState> from, Event event, const DeleteContext& context = {}
) {
    const Transition result = transition(from, event, context);
    if (const auto* moved = std::get_if<Moved>(&result)) {
        return std::string{to_string(moved->to)};
    }
    if (std::holds_alternative<Unchanged>(result)) {
        return "-";
    }
    if (std::holds_alternative<Removed>(result)) {
        return "removed";
    }
    const Refused& refused = std::get<Refused>(result);
    EXPECT_FALSE(refused.message.empty());
    EXPECT_FALSE(refused.recommended_actions.empty());
    return std::string{traits(refused.kind).arm_code};
}

TEST(InstanceState, TheLifeOfAnInstance) {
    EXPECT_EQ(outcome(std::nullopt, Event::kConfigure), "ConfiguringProtection");
    EXPECT_EQ(outcome(kConfiguringProtection, Event::kConfigured), "ProtectionConfigured");
    EXPECT_EQ(outcome(kProtectionConfigured, Event::kUpdatePolicy), "UpdatingProtection");
    EXPECT_EQ(outcome(kUpdatingProtection, Event::kPolicyUpdated), "ProtectionConfigured");
    EXPECT_EQ(outcome(kProtectionConfigured, Event::kStop), "ProtectionStopped");
    EXPECT_EQ(outcome(kProtectionStopped, Event::kResume), "ProtectionConfigured");
    EXPECT_EQ(outcome(kProtectionConfigured, Event::kSuspend), "BackupsSuspended");
    EXPECT_EQ(outcome(kBackupsSuspended, Event::kResume), "ProtectionConfigured");
    EXPECT_EQ(outcome(kProtectionConfigured, Event::kDelete), "SoftDeleting");
    EXPECT_EQ(outcome(kSoftDeleting, Event::kDeleted), "SoftDeleted");
    EXPECT_EQ(outcome(kSoftDeleted, Event::kUndelete), "ProtectionStopped");
    EXPECT_EQ(outcome(kProtectionStopped, Event::kResume), "ProtectionConfigured");
}

TEST(InstanceState, Table) {
    struct Row {
        std::optional<ProtectionState> from;
        Event event;
        std::string_view expected;
    };
    for (const Row& row : {
             Row{std::nullopt, Event::kStop, "ResourceNotFound"},
             Row{std::nullopt, Event::kDelete, "ResourceNotFound"},
             Row{std::nullopt, Event::kUndelete, "UserErrorGenericResourceNotFound"},
             Row{kConfiguringProtection, Event::kConfigureFailed, "ConfiguringProtectionFailed"},
             Row{kConfiguringProtection, Event::kConfigure, "BMSUserErrorObjectLocked"},
             Row{kConfiguringProtection, Event::kStop, "BMSUserErrorObjectLocked"},
             Row{kConfiguringProtection, Event::kDelete, "SoftDeleting"},
             Row{kConfiguringProtectionFailed, Event::kConfigure, "ConfiguringProtection"},
             Row{kConfiguringProtectionFailed, Event::kResume, "UserErrorInvalidProtectionState"},
             Row{kConfiguringProtectionFailed, Event::kDelete, "SoftDeleting"},
             Row{kProtectionConfigured, Event::kConfigure, "UpdatingProtection"},
             Row{kProtectionConfigured, Event::kResume, "-"},
             Row{kProtectionConfigured, Event::kUndelete, "UserErrorInvalidProtectionState"},
             Row{kProtectionConfigured, Event::kPurge, "UserErrorInvalidProtectionState"},
             Row{kProtectionConfigured, Event::kDeleted, "UserErrorInvalidProtectionState"},
             Row{kProtectionConfigured, Event::kDatasourceFailed, "ProtectionError"},
             Row{kProtectionError, Event::kDatasourceRecovered, "ProtectionConfigured"},
             Row{kProtectionError, Event::kStop, "ProtectionStopped"},
             Row{kUpdatingProtection, Event::kConfigureFailed, "ProtectionError"},
             Row{kUpdatingProtection, Event::kUpdatePolicy, "BMSUserErrorObjectLocked"},
             Row{kProtectionStopped, Event::kStop, "-"},
             Row{kProtectionStopped, Event::kUndelete, "-"},
             Row{kProtectionStopped, Event::kSuspend, "UserErrorInvalidProtectionState"},
             Row{kProtectionStopped, Event::kUpdatePolicy, "ProtectionStopped"},
             Row{kProtectionStopped, Event::kDelete, "SoftDeleting"},
             Row{kBackupsSuspended, Event::kStop, "ProtectionStopped"},
             Row{kBackupsSuspended, Event::kSuspend, "-"},
             Row{kBackupsSuspended, Event::kUndelete, "UserErrorInvalidProtectionState"},
             Row{kSoftDeleting, Event::kUndelete, "BMSUserErrorObjectLocked"},
             Row{kSoftDeleted, Event::kConfigure, "UserErrorInvalidProtectionState"},
             Row{kSoftDeleted, Event::kResume, "ResourceNotFound"},
             Row{kSoftDeleted, Event::kDelete, "-"},
         }) {
        EXPECT_EQ(outcome(row.from, row.event), row.expected)
            << (row.from ? to_string(*row.from) : "none") << " event "
            << static_cast<int>(row.event);
    }
}

TEST(InstanceState, DeleteHonoursSoftDeleteAndImmutability) {
    EXPECT_EQ(
        outcome(kProtectionConfigured, Event::kDelete, {.soft_delete = SoftDelete::kOff}), "removed"
    );
    EXPECT_EQ(
        outcome(kProtectionConfigured, Event::kDelete, {.soft_delete = SoftDelete::kAlwaysOn}),
        "SoftDeleting"
    );
    for (const Immutability immutability : {Immutability::kUnlocked, Immutability::kLocked}) {
        for (const SoftDelete soft_delete : {SoftDelete::kOff, SoftDelete::kOn}) {
            DeleteContext context{
                .soft_delete = soft_delete, .immutability = immutability, .unexpired_points = 3
            };
            EXPECT_EQ(
                outcome(kProtectionStopped, Event::kDelete, context),
                "UserErrorOperationNotAllowedOnImmutableVault"
            );
            context.unexpired_points = 0;
            EXPECT_NE(
                outcome(kProtectionStopped, Event::kDelete, context),
                "UserErrorOperationNotAllowedOnImmutableVault"
            );
        }
    }
}

TEST(InstanceState, PurgeWaitsForItsTime) {
    const DeletionInfo info = deletion_info(at("2026-01-01T12:00:00Z"), 14.0);
    EXPECT_EQ(info.scheduled_purge, at("2026-01-15T12:00:00Z"));
    DeleteContext context{
        .scheduled_purge = info.scheduled_purge, .now = at("2026-01-15T11:59:59Z")
    };
    EXPECT_EQ(outcome(kSoftDeleted, Event::kPurge, context), "UserErrorInvalidProtectionState");
    context.now = at("2026-01-15T12:00:00Z");
    EXPECT_EQ(outcome(kSoftDeleted, Event::kPurge, context), "removed");
    context.scheduled_purge.reset();
    EXPECT_EQ(outcome(kSoftDeleted, Event::kPurge, context), "UserErrorInvalidProtectionState");
}

TEST(InstanceState, WireSpellings) {
    for (int i = 0; i <= static_cast<int>(kSoftDeleted); ++i) {
        const auto state = static_cast<ProtectionState>(i);
        EXPECT_EQ(parse_protection_state(to_string(state)), state);
    }
    EXPECT_EQ(parse_protection_state("backupSchedulesSuspended"), kBackupsSuspended);
    EXPECT_FALSE(parse_protection_state("Protected").has_value());
}

TEST(InstanceState, WhatAStateAccepts) {
    EXPECT_TRUE(accepts_backup(kProtectionConfigured));
    EXPECT_TRUE(accepts_backup(kProtectionError));
    for (const ProtectionState state :
         {kProtectionStopped, kBackupsSuspended, kConfiguringProtection, kSoftDeleted}) {
        EXPECT_FALSE(accepts_backup(state)) << to_string(state);
    }
    EXPECT_TRUE(accepts_restore(kProtectionStopped));
    EXPECT_TRUE(accepts_restore(kBackupsSuspended));
    EXPECT_FALSE(accepts_restore(kSoftDeleted));
    EXPECT_THAT(
        not_accepted(kProtectionStopped, "A backup", "bi").text().message,
        ::testing::HasSubstr("ProtectionStopped")
    );
}

TEST(InstanceState, ThrowsWithTheTarget) {
    try {
        (void)transition_or_throw(kSoftDeleted, Event::kResume, "/subscriptions/S/bi");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kResourceNotFound);
        EXPECT_EQ(error.text().target, "/subscriptions/S/bi");
    }
}

/// No sequence of events removes an instance of an immutable vault with unexpired points, or purges
/// before its time.
TEST(InstanceState, NoWayAroundImmutability) {
    const DeleteContext locked{
        .soft_delete = SoftDelete::kOff,
        .immutability = Immutability::kLocked,
        .unexpired_points = 1,
        .scheduled_purge = at("2026-02-01T00:00:00Z"),
        .now = at("2026-01-01T00:00:00Z"),
    };
    std::set<std::optional<ProtectionState>> reached{std::nullopt};
    std::vector<std::optional<ProtectionState>> open{std::nullopt};
    while (!open.empty()) {
        const auto from = open.back();
        open.pop_back();
        for (int event = 0; event <= static_cast<int>(Event::kPurge); ++event) {
            const Transition result = transition(from, static_cast<Event>(event), locked);
            ASSERT_FALSE(std::holds_alternative<Removed>(result));
            if (const auto* moved = std::get_if<Moved>(&result);
                moved && reached.insert(moved->to).second) {
                open.emplace_back(moved->to);
            }
        }
    }
    EXPECT_FALSE(reached.contains(kSoftDeleted));
    EXPECT_TRUE(reached.contains(kProtectionStopped));
}

}  // namespace
}  // namespace holdfast::protection
