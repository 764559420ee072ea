#pragma once

#include "protection/policy.h"

#include <array>
#include <string_view>
#include <utility>

/// The wire's words of the policy's enumerations; parsing, printing and messages read the same
/// tables.
namespace holdfast::protection::words {

template <typename T>
struct Word {
    std::string_view text;
    T value;
};

inline constexpr std::array<Word<AbsoluteMarker>, 5> kAbsoluteMarkers{{
    {"AllBackup", AbsoluteMarker::kAllBackup},
    {"FirstOfDay", AbsoluteMarker::kFirstOfDay},
    {"FirstOfWeek", AbsoluteMarker::kFirstOfWeek},
    {"FirstOfMonth", AbsoluteMarker::kFirstOfMonth},
    {"FirstOfYear", AbsoluteMarker::kFirstOfYear},
}};

inline constexpr std::array<Word<std::chrono::weekday>, 7> kWeekdays{{
    {"Sunday", std::chrono::Sunday},
    {"Monday", std::chrono::Monday},
    {"Tuesday", std::chrono::Tuesday},
    {"Wednesday", std::chrono::Wednesday},
    {"Thursday", std::chrono::Thursday},
    {"Friday", std::chrono::Friday},
    {"Saturday", std::chrono::Saturday},
}};

inline constexpr std::array<Word<TestRestoreRule>, 3> kTestRestoreRules{{
    {"Never", TestRestoreRule::kNever},
    {"AfterEachBackup", TestRestoreRule::kAfterEachBackup},
    {"Weekly", TestRestoreRule::kWeekly},
}};

inline constexpr std::array<Word<WeekOfMonth>, 5> kWeeks{{
    {"First", WeekOfMonth::kFirst},
    {"Second", WeekOfMonth::kSecond},
    {"Third", WeekOfMonth::kThird},
    {"Fourth", WeekOfMonth::kFourth},
    {"Last", WeekOfMonth::kLast},
}};

inline constexpr std::array<Word<std::chrono::month>, 12> kMonths{{
    {"January", std::chrono::January},
    {"February", std::chrono::February},
    {"March", std::chrono::March},
    {"April", std::chrono::April},
    {"May", std::chrono::May},
    {"June", std::chrono::June},
    {"July", std::chrono::July},
    {"August", std::chrono::August},
    {"September", std::chrono::September},
    {"October", std::chrono::October},
    {"November", std::chrono::November},
    {"December", std::chrono::December},
}};

inline constexpr std::array<Word<DataStoreType>, 3> kDataStores{{
    {"OperationalStore", DataStoreType::kOperationalStore},
    {"VaultStore", DataStoreType::kVaultStore},
    {"ArchiveStore", DataStoreType::kArchiveStore},
}};

template <typename Table, typename T>
[[nodiscard]] std::string_view text_of(const Table& table, const T& value) noexcept {
    for (const auto& word : table) {
        if (word.value == value) {
            return word.text;
        }
    }
    return {};
}

}  // namespace holdfast::protection::words
