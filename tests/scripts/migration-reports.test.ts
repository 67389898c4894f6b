import { expect, test } from "vitest";
import { lastReport, reportsSince } from "../../scripts/data/migration-reports.ts";
import { createMemoryDatabase } from "../support/memory-database.ts";

test("only what was written since is reported, in the order of writing", async () => {
  const { client, memory } = await createMemoryDatabase();
  const write = (id: number, report: string) =>
    memory.public.none(`insert into private.migration_reports values (${id}, 'a_migration', '${report}')`);
  expect(await lastReport(client)).toBe(0);
  write(1, "before");
  const last = await lastReport(client);
  expect(await reportsSince(client, last)).toEqual([]);
  write(3, "third");
  write(2, "second");

  expect(await reportsSince(client, last)).toEqual([
    { migration: "a_migration", report: "second" },
    { migration: "a_migration", report: "third" },
  ]);
});

test("a database without Tokenbook has no reports, and that is no error", async () => {
  const { client, memory } = await createMemoryDatabase();
  memory.public.none("drop table private.migration_reports");

  expect(await reportsSince(client, await lastReport(client))).toEqual([]);
});
