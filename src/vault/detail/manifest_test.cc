#include "vault/detail/manifest.h"

#include "base/error.h"
#include "vault/detail/crypto.h"
#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::pseudo_random_bytes;

/// Nodes in memory, by the hash of their bytes.
struct Nodes {
    std::map<ChunkId, std::string> stored;
    NodeSink sink = [this](BlobType, std::string bytes) {
        const ChunkId id = sha256(as_bytes(bytes));
        stored.emplace(id, std::move(bytes));
        return id;
    };
    NodeSource source = [this](BlobType, const ChunkId& id) {
        const auto found = stored.find(id);
        if (found == stored.end()) {
            throw Error{ErrorKind::kVaultCorrupt, "no such node"};
        }
        return to_bytes(found->second);
    };
};

ChunkId chunk(std::uint64_t number) {
    return sha256(pseudo_random_bytes(8, number));
}

std::optional<ContentRef> build(Nodes& nodes, const std::vector<std::uint64_t>& chunks) {
    ContentTreeBuilder builder{nodes.sink};
    for (const std::uint64_t number : chunks) {
        builder.add(chunk(number), number + 1);
    }
    return builder.finish();
}

TEST(ContentTree, WalksWhatWasBuilt) {
    for (const std::size_t count : {0U, 1U, 2U, 15U, 16U, 17U, 300U, 5000U, 40'000U}) {
        Nodes nodes;
        std::vector<std::uint64_t> chunks(count);
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i < count; ++i) {
            chunks[i] = i;
            bytes += i + 1;
        }
        const auto root = build(nodes, chunks);
        EXPECT_EQ(root.has_value(), count > 0);
        ContentTreeWalker walker{nodes.source, root, bytes};
        for (std::size_t i = 0; i < count; ++i) {
            const auto child = walker.next();
            ASSERT_TRUE(child.has_value()) << i;
            EXPECT_EQ(child->id, chunk(i));
            EXPECT_EQ(child->plain_bytes, i + 1);
        }
        EXPECT_FALSE(walker.next().has_value());
    }
}

TEST(ContentTree, AChangeRewritesItsPathOnly) {
    Nodes nodes;
    std::vector<std::uint64_t> chunks(20'000);
    for (std::size_t i = 0; i < chunks.size(); ++i) {
        chunks[i] = i;
    }
    (void)build(nodes, chunks);
    const std::size_t before = nodes.stored.size();
    chunks[9999] = 1'000'000;
    (void)build(nodes, chunks);
    EXPECT_LE(nodes.stored.size() - before, 6U);
    const std::size_t after_change = nodes.stored.size();
    chunks.insert(chunks.begin() + 5, 2'000'000);  // Everything behind it moves by one.
    (void)build(nodes, chunks);
    EXPECT_LE(nodes.stored.size() - after_change, 8U);
}

TEST(ContentTree, RefusesNodesThatDoNotFit) {
    Nodes nodes;
    const auto root = build(nodes, {1, 2, 3});
    EXPECT_THROW((ContentTreeWalker{nodes.source, root, 1}), Error);
    EXPECT_THROW(
        (ContentTreeWalker{nodes.source, ContentRef{.id = root->id, .level = 2}, 9}), Error
    );
    EXPECT_THROW(
        (ContentTreeWalker{nodes.source, ContentRef{.id = chunk(1), .level = 1}, 9}), Error
    );
}

std::optional<ContentRef> build_directory(Nodes& nodes, const std::vector<std::string>& names) {
    DirectoryBuilder builder{nodes.sink};
    for (const std::string& name : names) {
        format::StreamEntry entry;
        entry.set_name(name);
        entry.set_size_bytes(3);
        entry.set_inline_content("abc");
        builder.add(std::move(entry));
    }
    return builder.finish();
}

std::vector<std::string> names_from(
    const Nodes& nodes, const std::optional<ContentRef>& root, std::string_view from
) {
    std::vector<std::string> names;
    walk_directory(nodes.source, root, from, [&](const format::StreamEntry& entry) {
        names.push_back(entry.name());
        return true;
    });
    return names;
}

TEST(Directory, ListsInOrderFromAnyName) {
    for (const int count : {0, 1, 7, 8, 9, 200, 3000}) {
        Nodes nodes;
        std::vector<std::string> names;
        for (int i = 0; i < count; ++i) {
            names.push_back(fmt::format("t_{:05}", i));
        }
        const auto root = build_directory(nodes, names);
        EXPECT_EQ(names_from(nodes, root, ""), names);
        for (int i = 0; i < count; i += 1 + count / 23) {
            const std::vector<std::string> rest(names.begin() + i, names.end());
            EXPECT_EQ(names_from(nodes, root, names[static_cast<std::size_t>(i)]), rest);
            EXPECT_EQ(
                names_from(nodes, root, names[static_cast<std::size_t>(i)] + "!").size(),
                rest.size() - 1
            );
        }
    }
}

TEST(Directory, ANewStreamRewritesItsPathOnly) {
    Nodes nodes;
    std::vector<std::string> names;
    for (int i = 0; i < 5000; ++i) {
        names.push_back(fmt::format("t_{:05}", i));
    }
    (void)build_directory(nodes, names);
    const std::size_t before = nodes.stored.size();
    names.insert(names.begin() + 2500, "t_02499x");
    (void)build_directory(nodes, names);
    EXPECT_LE(nodes.stored.size() - before, 6U);
}

TEST(Nodes, ParsersTakeAnyBytes) {
    for (unsigned seed = 0; seed < 500; ++seed) {
        const Bytes noise = pseudo_random_bytes(seed % 100, seed);
        (void)parse_tree_node(noise);
        (void)parse_directory_node(noise);
    }
    EXPECT_FALSE(parse_tree_node({}).has_value());
    EXPECT_FALSE(parse_directory_node({}).has_value());
    format::TreeNode node;
    node.set_child_ids(std::string(32, 'x'));
    node.add_child_bytes(1);
    EXPECT_TRUE(parse_tree_node(as_bytes(node.SerializeAsString())).has_value());
    node.add_child_bytes(1);
    EXPECT_FALSE(parse_tree_node(as_bytes(node.SerializeAsString())).has_value());
}

}  // namespace
}  // namespace holdfast::vault
