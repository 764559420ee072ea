// Restoring one table or schema from the archive of the installed pg_dump.

#include "postgres/toc_selection.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/archive_composer.h"
#include "postgres/archive_splitter.h"
#include "postgres/testing/postgres_server.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::PostgresServer;

constexpr std::string_view kDefinitions = R"sql(
CREATE SCHEMA sales; CREATE SCHEMA lib; CREATE ROLE selection_reader;
CREATE EXTENSION citext SCHEMA lib;
CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE TYPE lib.colour AS ENUM ('red', 'green');
CREATE DOMAIN lib.positive AS int CHECK (VALUE > 0);
CREATE TYPE lib.address AS (street text, number lib.positive);
CREATE FUNCTION lib.default_name() RETURNS text LANGUAGE sql AS $$ SELECT 'x'::text $$;
COMMENT ON FUNCTION lib.default_name() IS 'names';
CREATE FUNCTION lib.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE SEQUENCE lib.shared_numbers;
CREATE TABLE sales.customer (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text DEFAULT lib.default_name(),
    hue lib.colour,
    home lib.address, mail lib.citext, number int DEFAULT nextval('lib.shared_numbers'),
    CONSTRAINT named CHECK (name <> ''));
CREATE TABLE sales.orders (
    id bigserial, customer int REFERENCES sales.customer, amount numeric CHECK (amount > 0),
    twice numeric GENERATED ALWAYS AS (amount * 2) STORED, note text, PRIMARY KEY (id),
    UNIQUE (note));
ALTER TABLE sales.orders CLUSTER ON orders_pkey;
ALTER TABLE sales.orders REPLICA IDENTITY USING INDEX orders_pkey;
CREATE INDEX orders_customer ON sales.orders (customer);
CREATE INDEX "some index" ON sales.orders (lower(note)) WHERE amount > 5;
ALTER INDEX sales."some index" ALTER COLUMN 1 SET STATISTICS 7;
CREATE STATISTICS sales.orders_stat ON customer, amount FROM sales.orders;
CREATE TRIGGER touch BEFORE INSERT ON sales.orders FOR EACH ROW WHEN (NEW.amount > 3) EXECUTE
    FUNCTION lib.touch();
CREATE TABLE sales.log (what text);
CREATE RULE log AS ON DELETE TO sales.orders DO ALSO INSERT INTO sales.log VALUES (OLD.note);
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY rich ON sales.orders USING (amount > 1);
CREATE POLICY known ON sales.orders USING (EXISTS (SELECT 1 FROM sales.customer c WHERE c.id =
    customer));
CREATE POLICY own ON sales.orders USING (EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE
    r.rolname = orders.note));
COMMENT ON TABLE sales.orders IS 'table sales.orders';
    COMMENT ON COLUMN sales.orders.id IS 'column';
COMMENT ON CONSTRAINT orders_pkey ON sales.orders IS 'key';
    COMMENT ON INDEX sales.orders_customer IS 'index';
COMMENT ON TRIGGER touch ON sales.orders IS 'trigger';
    COMMENT ON POLICY known ON sales.orders IS 'policy';
GRANT SELECT ON sales.orders TO selection_reader;
    GRANT UPDATE (note) ON sales.orders TO selection_reader;
GRANT USAGE ON SCHEMA sales TO selection_reader;
    GRANT USAGE ON SEQUENCE sales.orders_id_seq TO selection_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA lib GRANT SELECT ON TABLES TO selection_reader;
CREATE VIEW sales.names AS SELECT name FROM sales.customer;
CREATE MATERIALIZED VIEW sales.totals AS SELECT customer,
    sum(amount) AS s FROM sales.orders GROUP BY 1;
CREATE INDEX totals_customer ON sales.totals (customer);
CREATE TABLE sales.part (at date, v int, PRIMARY KEY (at, v)) PARTITION BY RANGE (at);
CREATE TABLE sales.part_1 PARTITION OF sales.part FOR VALUES FROM ('2020-01-01') TO
    ('2021-01-01');
CREATE TABLE lib.part_2 PARTITION OF sales.part FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')
    PARTITION BY LIST (v);
CREATE TABLE lib.part_2_a PARTITION OF lib.part_2 FOR VALUES IN (1, 2, 3);
CREATE INDEX part_v ON sales.part (v);
CREATE TABLE sales.parent (x int DEFAULT 7, y text);
CREATE TABLE sales.child (z int) INHERITS (sales.parent);
CREATE TABLE sales.to_part (at date, v int, FOREIGN KEY (at, v) REFERENCES sales.part);
CREATE PUBLICATION everything FOR TABLE sales.orders;
CREATE FOREIGN TABLE sales.devnull (a text) SERVER files OPTIONS (filename '/dev/null');
CREATE TABLE sales.left_side (id int PRIMARY KEY, o int);
CREATE TABLE sales.right_side (id int PRIMARY KEY, o int REFERENCES sales.left_side);
ALTER TABLE sales.left_side ADD FOREIGN KEY (o) REFERENCES sales.right_side;
CREATE VIEW lib.over_there AS SELECT id FROM sales.orders;
CREATE TABLE lib.plain (a int);
INSERT INTO sales.customer (name, hue, home) SELECT 'c' || g, 'red', ROW('s',
    1)::lib.address FROM generate_series(1, 10) g;
INSERT INTO sales.orders (customer, amount, note) SELECT 1, g, 'n' || g FROM generate_series(1,
    100) g;
INSERT INTO sales.part SELECT date '2020-01-01' + g, g % 3 + 1 FROM generate_series(0, 700) g;
INSERT INTO sales.parent (y) VALUES ('p'); INSERT INTO sales.child (y, z) VALUES ('c', 1);
REFRESH MATERIALIZED VIEW sales.totals;
)sql";

class TocSelection : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        if (!PostgresServer::available()) {
            return;
        }
        server_ = std::make_unique<PostgresServer>();
        database_ = server_->create_database("source");
        server_->sql(database_, kDefinitions);
        streams_ = std::make_unique<MemoryStreams>(split_dump(database_));
        composer_ = std::make_unique<ArchiveComposer>(*streams_, "databases/d/");
    }
    static void TearDownTestSuite() {
        composer_.reset();
        streams_.reset();
        server_.reset();
    }
    void SetUp() override {
        if (!server_) {
            GTEST_SKIP() << "PostgreSQL 15 is not installed";
        }
    }

    static MemoryStreams split_dump(const std::string& database) {
        const RunResult dump =
            server_->run("pg_dump", {"-Fc", "-Z0", "--dbname=" + server_->conninfo(database)});
        EXPECT_TRUE(dump.status.ok()) << dump.error;
        MemoryStreams streams;
        ArchiveSplitter splitter{streams, "databases/d/"};
        splitter.write(as_bytes(dump.output));
        EXPECT_TRUE(splitter.finish().understood);
        return streams;
    }

    static Selection select(std::string_view item) {
        return select_item(composer_->toc(), {.item = ItemPath::parse(item)});
    }

    /// Restores into `target` with everything an error.
    static void restore(
        const ArchiveComposer& composer, const Selection& selection, const std::string& target
    ) {
        ComposePlan plan;
        plan.shape = ComposeShape::kPipe;
        plan.entries = selection.entries;
        plan.overrides = selection.overrides;
        MemoryBytes archive;
        composer.compose(plan, archive);
        const RunResult result = server_->run(
            "pg_restore",
            {"--exit-on-error", "--dbname=" + server_->conninfo(target)},
            archive.bytes()
        );
        EXPECT_TRUE(result.status.ok()) << result.error;
    }
    static std::string restore_into_new(const Selection& selection) {
        const std::string target = server_->create_database("target");
        restore(*composer_, selection, target);
        return target;
    }

    static std::string dump_table(
        const std::string& database, const std::vector<std::string>& patterns
    ) {
        std::vector<std::string> arguments{"--dbname=" + server_->conninfo(database)};
        for (const std::string& pattern : patterns) {
            arguments.push_back("--table=" + pattern);
        }
        const RunResult result = server_->run("pg_dump", arguments);
        EXPECT_TRUE(result.status.ok()) << result.error;
        return result.output;
    }

    /// Lines of one dump that the other has not: what a restore lost, or made up.
    static std::vector<std::string> lines_only_in(
        const std::string& first, const std::string& second
    ) {
        std::multiset<std::string> lines;
        for (const std::string& line : split(second, '\n')) {
            lines.insert(line);
        }
        std::vector<std::string> missing;
        for (const std::string& line : split(first, '\n')) {
            const auto it = lines.find(line);
            const bool noise = line.empty() || line.starts_with("--") ||
                               line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
            if (it != lines.end()) {
                lines.erase(it);
            } else if (!noise) {
                missing.push_back(line);
            }
        }
        return missing;
    }

    static std::vector<std::string> names(const std::vector<SelectedObject>& objects) {
        std::vector<std::string> out;
        for (const SelectedObject& object : objects) {
            out.push_back(object.what);
        }
        return out;
    }
    static std::vector<std::string> names(const std::vector<LeftOut>& objects) {
        std::vector<std::string> out;
        for (const LeftOut& object : objects) {
            out.push_back(object.what);
        }
        std::sort(out.begin(), out.end());
        return out;
    }

    static std::unique_ptr<PostgresServer> server_;
    static std::string database_;
    static std::unique_ptr<MemoryStreams> streams_;
    static std::unique_ptr<ArchiveComposer> composer_;
};

std::unique_ptr<PostgresServer> TocSelection::server_;
std::string TocSelection::database_;
std::unique_ptr<MemoryStreams> TocSelection::streams_;
std::unique_ptr<ArchiveComposer> TocSelection::composer_;

TEST_F(TocSelection, ATableComesWithAllThatBelongsToIt) {
    const Selection selection = select("sales/orders");
    EXPECT_THAT(
        names(selection.left_out),
        ElementsAre(
            "FK CONSTRAINT sales.orders orders_customer_fkey",
            "POLICY sales.orders known",
            "RULE sales.orders log"
        )
    );
    EXPECT_THAT(names(selection.also_included), ElementsAre("FUNCTION lib.touch()"));
    EXPECT_THAT(selection.expected, IsEmpty());

    const std::string target = restore_into_new(selection);
    const std::string before = dump_table(database_, {"sales.orders"});
    const std::string after = dump_table(target, {"sales.orders"});
    EXPECT_THAT(lines_only_in(after, before), IsEmpty());
    EXPECT_THAT(
        lines_only_in(before, after),
        ElementsAre(
            "CREATE RULE log AS",
            "    ON DELETE TO sales.orders DO  INSERT INTO sales.log (what)",
            "  VALUES (old.note);",
            "ALTER TABLE ONLY sales.orders",
            "    ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer) REFERENCES "
            "sales.customer(id);",
            "CREATE POLICY known ON sales.orders USING ((EXISTS ( SELECT 1",
            "   FROM sales.customer c",
            "  WHERE (c.id = orders.customer))));",
            "COMMENT ON POLICY known ON sales.orders IS 'policy';"
        )
    ) << "rules, keys and policies on absent tables are missing, and nothing else";
    EXPECT_EQ(server_->sql(target, "SELECT nextval('sales.orders_id_seq')"), "101\n");
}

TEST_F(TocSelection, TypesFunctionsAndExtensionsOfATableAreFollowed) {
    const Selection selection = select("sales/customer");
    EXPECT_THAT(
        names(selection.also_included),
        ::testing::UnorderedElementsAre(
            "TYPE lib.colour",
            "TYPE lib.address",
            "DOMAIN lib.positive",
            "FUNCTION lib.default_name()",
            "SEQUENCE lib.shared_numbers",
            "EXTENSION citext"
        )
    );
    const std::string target = restore_into_new(selection);
    EXPECT_THAT(
        lines_only_in(
            dump_table(database_, {"sales.customer"}), dump_table(target, {"sales.customer"})
        ),
        IsEmpty()
    );
    EXPECT_EQ(server_->sql(target, "SELECT nextval('lib.shared_numbers')"), "11\n");
    EXPECT_EQ(
        server_->sql(target, "SELECT obj_description('lib.default_name()'::regprocedure)"),
        "names\n"
    );
}

TEST_F(TocSelection, WhatTheTargetHasIsExpectedThere) {
    const std::string target = server_->create_database("target");
    server_->sql(
        target,
        "CREATE SCHEMA lib; CREATE SCHEMA sales; CREATE EXTENSION citext SCHEMA lib; CREATE TYPE "
        "lib.colour AS ENUM ('red');"
        "CREATE FUNCTION lib.default_name() RETURNS text LANGUAGE sql AS $$ SELECT 'there'::text "
        "$$;"
    );
    const SelectionRequest request{
        .item = ItemPath::parse("sales/customer"),
        .exists_in_target =
            [&](const TocEntry& entry) {
                const auto query = existence_query(composer_->toc(), entry);
                EXPECT_TRUE(query.has_value()) << entry.desc;
                return server_->sql(
                           target, "SET search_path = ''; " + query.value_or("SELECT false")
                       ) == "t\n";
            }
    };
    const Selection selection = select_item(composer_->toc(), request);
    EXPECT_THAT(
        names(selection.expected),
        ::testing::UnorderedElementsAre(
            "SCHEMA lib",
            "SCHEMA sales",
            "EXTENSION citext",
            "TYPE lib.colour",
            "FUNCTION lib.default_name()"
        )
    );
    EXPECT_THAT(names(selection.also_included), Contains("TYPE lib.address"));
    restore(*composer_, selection, target);
    EXPECT_EQ(
        server_->sql(target, "SELECT count(*), lib.default_name() FROM sales.customer"),
        "10|there\n"
    );
}

TEST_F(TocSelection, AllPartitionsComeAlongWhereverTheyAre) {
    const Selection selection = select("sales/part");
    EXPECT_THAT(selection.left_out, IsEmpty());
    const std::string target = restore_into_new(selection);
    EXPECT_EQ(
        server_->sql(
            target,
            "SELECT tableoid::regclass::text, count(*) FROM sales.part GROUP BY 1 ORDER BY 1"
        ),
        server_->sql(
            database_,
            "SELECT tableoid::regclass::text, count(*) FROM sales.part GROUP BY 1 ORDER BY 1"
        )
    );
    const std::vector<std::string> tables{"sales.part*", "lib.part_*"};
    EXPECT_THAT(
        lines_only_in(dump_table(database_, tables), dump_table(target, tables)), IsEmpty()
    );
}

TEST_F(TocSelection, APartitionAloneIsATable) {
    const Selection selection = select("sales/part_1");
    EXPECT_THAT(names(selection.left_out), ElementsAre("TABLE ATTACH sales.part_1"));
    EXPECT_THAT(selection.also_included, IsEmpty());
    const std::string target = restore_into_new(selection);
    EXPECT_EQ(server_->sql(target, "SELECT count(*) FROM sales.part_1"), "366\n");
    EXPECT_EQ(
        server_->sql(target, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'sales'"), "2\n"
    );
}

TEST_F(TocSelection, InheritanceGoesDownWithDataAndUpWithout) {
    const std::string whole = restore_into_new(select("sales/parent"));
    EXPECT_EQ(server_->sql(whole, "SELECT y FROM sales.parent ORDER BY 1"), "c\np\n");
    const Selection selection = select("sales/child");
    EXPECT_THAT(names(selection.also_included), ElementsAre("TABLE sales.parent"));
    const std::string child = restore_into_new(selection);
    EXPECT_EQ(server_->sql(child, "SELECT y FROM sales.parent ORDER BY 1"), "c\n");
    EXPECT_EQ(server_->sql(child, "INSERT INTO sales.child (z) VALUES (1) RETURNING x"), "7\n");
}

TEST_F(TocSelection, AViewExpectsItsTables) {
    const Selection selection = select("sales/totals");
    EXPECT_THAT(names(selection.expected), ElementsAre("TABLE sales.orders"));
    const std::string target = restore_into_new(select("sales/orders"));
    const auto has_schema = [](const TocEntry& entry) { return entry.desc == "SCHEMA"; };
    restore(
        *composer_,
        select_item(
            composer_->toc(),
            {.item = ItemPath::parse("sales/totals"), .exists_in_target = has_schema}
        ),
        target
    );
    EXPECT_EQ(server_->sql(target, "SELECT s FROM sales.totals"), "5050\n");
}

TEST_F(TocSelection, ASchemaComesWhole) {
    const Selection selection = select("sales");
    EXPECT_THAT(
        names(selection.left_out), ElementsAre("PUBLICATION TABLE sales.everything orders")
    );
    EXPECT_THAT(
        names(selection.also_included),
        ::testing::IsSupersetOf({"EXTENSION file_fdw", "SERVER files", "TYPE lib.colour"})
    );
    const std::string target = restore_into_new(selection);
    EXPECT_THAT(
        lines_only_in(
            dump_table(database_, {"sales.*", "lib.part*"}),
            dump_table(target, {"sales.*", "lib.part*"})
        ),
        IsEmpty()
    );
    EXPECT_EQ(
        server_->sql(target, "SELECT nspacl FROM pg_namespace WHERE nspname = 'sales'"),
        server_->sql(database_, "SELECT nspacl FROM pg_namespace WHERE nspname = 'sales'")
    );
}

TEST_F(TocSelection, ASchemaLeavesOutWhatNeedsOtherTables) {
    const Selection selection = select("lib");
    EXPECT_THAT(names(selection.left_out), Contains("VIEW lib.over_there"));
    EXPECT_THAT(names(selection.left_out), Contains("TABLE ATTACH lib.part_2"));
    const std::string target = restore_into_new(selection);
    EXPECT_EQ(server_->sql(target, "SELECT count(*) FROM lib.part_2"), "335\n");
    EXPECT_EQ(server_->sql(target, "SELECT count(*) FROM pg_default_acl"), "1\n");
}

TEST_F(TocSelection, AnUnknownItemIsAnError) {
    for (const char* item :
         {"sales/nothing", "nowhere", "nowhere/orders", "Sales/orders", "sales/or", "sales/\xC3\xBC"
         }) {
        try {
            static_cast<void>(select(item));
            ADD_FAILURE() << item;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kRestoreItemNotFound) << item;
            EXPECT_THAT(error.what(), HasSubstr(item));
            EXPECT_FALSE(error.text().recommended_actions.empty());
        }
    }
    for (const char* item : {"", "/", "a/", "/b", "a/b/c"}) {
        EXPECT_THROW(static_cast<void>(ItemPath::parse(item)), Error) << item;
    }
    EXPECT_EQ(ItemPath::parse("a%2Fb/c%25").to_string(), "a%2Fb/c%25");
}

TEST_F(TocSelection, ATableIsRestoredBesideItself) {
    const SelectionRequest request{
        .item = ItemPath::parse("sales/orders"),
        .rename_to = "orders copy",
        .exists_in_target = [](const TocEntry&) { return true; },
    };
    const Selection selection = select_item(composer_->toc(), request);
    EXPECT_THAT(
        names(selection.left_out),
        ElementsAre(
            "FK CONSTRAINT sales.orders orders_customer_fkey",
            "POLICY sales.orders known",
            "POLICY sales.orders own"
        )
    );
    const std::string target = server_->create_database("beside");
    {
        const RunResult dump =
            server_->run("pg_dump", {"-Fc", "--dbname=" + server_->conninfo(database_)});
        const RunResult full = server_->run(
            "pg_restore",
            {"--exit-on-error", "--dbname=" + server_->conninfo(target)},
            as_bytes(dump.output)
        );
        ASSERT_TRUE(full.status.ok()) << full.error;
    }
    const std::string original = dump_table(target, {"sales.orders"});
    restore(*composer_, selection, target);
    EXPECT_EQ(
        lines_only_in(dump_table(target, {"sales.orders"}), original), std::vector<std::string>{}
    );
    EXPECT_EQ(
        server_->sql(target, "SELECT count(*), sum(twice) FROM sales.\"orders copy\""),
        server_->sql(database_, "SELECT count(*), sum(twice) FROM sales.orders")
    );
    EXPECT_EQ(
        server_->sql(
            target,
            "SELECT c.relname, c.relkind FROM pg_class c WHERE relname LIKE 'orders copy%' ORDER "
            "BY 1"
        ),
        "orders copy|r\norders copy_customer|i\norders copy_id_seq|S\norders "
        "copy_note_key|i\norders copy_pkey|i\n"
        "orders copy_some index|i\n"
    );
    EXPECT_EQ(
        server_->sql(target, "INSERT INTO sales.\"orders copy\" (amount) VALUES (5) RETURNING id"),
        "101\n"
    );
    EXPECT_EQ(
        server_->sql(target, "SELECT stxname FROM pg_statistic_ext ORDER BY 1"),
        "orders copy_stat\norders_stat\n"
    );
    EXPECT_EQ(
        server_->sql(
            target,
            "SELECT indisclustered, indisreplident, obj_description(indexrelid) IS NULL, "
            "obj_description('sales.\"orders copy\"'::regclass) "
            "FROM pg_index WHERE indexrelid = 'sales.\"orders copy_pkey\"'::regclass"
        ),
        "t|t|t|table sales.orders\n"
    );
}

TEST_F(TocSelection, ATableIsRestoredIntoAnotherSchema) {
    const SelectionRequest request{
        .item = ItemPath::parse("sales/customer"),
        .target_schema = "staging",
        .exists_in_target = [](const TocEntry& entry
                            ) { return entry.desc == "EXTENSION" || entry.tag == "lib"; },
    };
    const Selection selection = select_item(composer_->toc(), request);
    const std::string target = server_->create_database("staging");
    server_->sql(
        target, "CREATE SCHEMA staging; CREATE SCHEMA lib; CREATE EXTENSION citext SCHEMA lib;"
    );
    restore(*composer_, selection, target);
    EXPECT_EQ(
        server_->sql(
            target, "INSERT INTO staging.customer (name) VALUES ('new') RETURNING id, number"
        ),
        "11|11\n"
    );
    EXPECT_EQ(server_->sql(target, "SELECT to_regnamespace('sales') IS NULL"), "t\n");
    EXPECT_EQ(
        server_->sql(
            target,
            "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace ORDER BY 1"
        ),
        "customer\ncustomer_id_seq\ncustomer_pkey\n"
    );
}

TEST_F(TocSelection, RenamesThatAreNotSafeAreRefused) {
    const auto refused = [&](std::string_view item) {
        try {
            static_cast<void>(
                select_item(composer_->toc(), {.item = ItemPath::parse(item), .rename_to = "other"})
            );
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kUnsupportedOperation);
            EXPECT_FALSE(error.text().recommended_actions.empty());
            return std::string{error.what()};
        }
        return std::string{"done"};
    };
    EXPECT_THAT(refused("sales/part"), HasSubstr("partitions"));
    EXPECT_THAT(refused("sales/parent"), HasSubstr("children"));
    EXPECT_THAT(refused("sales/totals"), HasSubstr("only tables"));
    EXPECT_THAT(refused("sales"), HasSubstr("only a table"));
    EXPECT_EQ(refused("sales/part_1"), "done");
    EXPECT_THROW(
        static_cast<void>(select_item(
            composer_->toc(),
            {.item = ItemPath::parse("lib/plain"), .rename_to = std::string(64, 'x')}
        )),
        Error
    );
}

TEST_F(TocSelection, NamesInOtherEncodingsAreFound) {
    server_->sql(
        "postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    );
    server_->sql(
        "latin",
        "SET client_encoding = 'UTF8'; CREATE SCHEMA \"\xC3\xBC\"; CREATE TABLE "
        "\"\xC3\xBC\".\"gr\xC3\xB6\xC3\x9F"
        "e\" (a text);"
        "INSERT INTO \"\xC3\xBC\".\"gr\xC3\xB6\xC3\x9F"
        "e\" VALUES ('\xC3\xA4');"
    );
    const MemoryStreams streams = split_dump("latin");
    const ArchiveComposer composer{streams, "databases/d/"};
    EXPECT_THAT(
        list_items(composer.toc()),
        Contains(::testing::Field(
            &ArchiveItem::name,
            "gr\xC3\xB6\xC3\x9F"
            "e"
        ))
    );
    const Selection selection = select_item(
        composer.toc(),
        {.item = ItemPath::parse("\xC3\xBC/gr\xC3\xB6\xC3\x9F"
                                 "e"),
         .rename_to = "kl\xC3\xA4glich"}
    );
    const std::string target = server_->create_database("utf8");
    restore(composer, selection, target);
    EXPECT_EQ(server_->sql(target, "SELECT a FROM \"\xC3\xBC\".\"kl\xC3\xA4glich\""), "\xC3\xA4\n");
    EXPECT_THROW(
        static_cast<void>(select_item(
            composer.toc(),
            {.item = ItemPath::parse("\xC3\xBC/gr\xC3\xB6\xC3\x9F"
                                     "e"),
             .rename_to = "\xE2\x82\xAC"}
        )),
        Error
    );
}

TEST_F(TocSelection, ThePublicSchemaOfTheTargetIsLeftAsItIs) {
    const std::string source = server_->create_database("public");
    server_->sql(
        source,
        "ALTER SCHEMA public OWNER TO selection_reader; GRANT CREATE ON SCHEMA public TO PUBLIC;"
        "COMMENT ON SCHEMA public IS 'ours'; CREATE TABLE public.t (a int);"
    );
    const MemoryStreams streams = split_dump(source);
    const ArchiveComposer composer{streams, "databases/d/"};
    for (const char* item : {"public", "public/t"}) {
        const std::string target = server_->create_database("target");
        constexpr std::string_view kState =
            "SELECT nspowner::regrole, nspacl, obj_description(oid) FROM pg_namespace WHERE "
            "nspname = 'public'";
        const std::string before = server_->sql(target, kState);
        restore(composer, select_item(composer.toc(), {.item = ItemPath::parse(item)}), target);
        EXPECT_EQ(server_->sql(target, kState), before) << item;
        EXPECT_EQ(server_->sql(target, "SELECT count(*) FROM public.t"), "0\n");
    }
}

TEST_F(TocSelection, CyclesOfForeignKeysAreCut) {
    EXPECT_THAT(
        names(select("sales/left_side").left_out),
        ElementsAre("FK CONSTRAINT sales.left_side left_side_o_fkey")
    );
    EXPECT_THAT(
        names(select("sales/to_part").left_out),
        ElementsAre("FK CONSTRAINT sales.to_part to_part_at_v_fkey")
    );
}

}  // namespace
}  // namespace holdfast::postgres
