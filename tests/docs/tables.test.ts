import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { schemaFiles } from "../../scripts/schema/project-files.ts";
import { projectRoot } from "../../scripts/project.ts";

test("the page of tables says who writes each (made anew with -u)", async () => {
  const files = (await schemaFiles()).map((file) => ({
    file,
    sql: readFileSync(join(projectRoot, file), "utf8"),
  }));
  const functions = files.flatMap(({ file, sql }) =>
    [...sql.matchAll(/^create (?:or replace )?function \w+\.(\w+)\([^]*?\nas \$\$([^]*?)^\$\$;/gm)].map(
      ([, name, body]) => ({ file, name: name!, body: body!.replaceAll(/--.*$/gm, "") }),
    ),
  );
  const tables = files.flatMap(({ file, sql }) =>
    [...sql.matchAll(/^create table (?:if not exists )?(\w+)\.(\w+)/gm)].map(([, schema, table]) => {
      const name = `${schema}.${table}`;
      const words = new RegExp(`comment on table ${name.replace(".", "\\.")} is\\s+'((?:[^']|'')*)'`).exec(
        sql,
      );
      const writes = new RegExp(`(insert into|update|delete from) ${name.replace(".", "\\.")}\\b`);
      return {
        name: schema === "public" ? table! : name,
        chapter: file.split("/")[2]!,
        row: words?.[1]?.replaceAll("''", "'") ?? "",
        writers: functions
          .filter(({ body }) => writes.test(body))
          .map((writer) => `\`${writer.name}\``)
          .toSorted(),
      };
    }),
  );
  const page = [
    "# Tables",
    "Made from `supabase/schemas` by `tests/docs/tables.test.ts`. Clients read those in `public` under row level security and write none; a table that no function writes is the project's own data, or written by migrations and scripts.",
    [
      "| table | chapter | what it holds | written by |",
      "|---|---|---|---|",
      ...tables.map(
        ({ name, chapter, row, writers }) =>
          `| \`${name}\` | ${chapter} | ${row.replaceAll("|", "\\|")} | ${writers.join(", ") || "–"} |`,
      ),
    ].join("\n"),
  ].join("\n\n");

  expect(tables.length).toBeGreaterThan(20);
  expect(tables.find(({ name }) => name === "token_holds")?.writers).toContain("`reserve_tokens`");
  expect(basename(files[0]!.file)).toBe("00_schema.sql");
  await expect(`${page}\n`).toMatchFileSnapshot(join(projectRoot, "docs", "tables.md"));
});
