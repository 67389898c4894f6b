import { expect, test } from "vitest";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";
import { lastReport, reportsSince } from "../../packages/tokenbook/src/data/migration-reports.ts";
import { createMemoryDatabase } from "../support/memory-database.ts";

test("only what was written since is reported, in the order of writing", async () => {
  const { client, memory } = await createMemoryDatabase();
  const write = (id: number, report: string) =>
    memory.public.none(`insert into tokenbook.migration_reports values (${id}, 'a_migration', '${report}')`);
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

test("a database without Tokenbook has no reports; any other error is one", async () => {
  const failingWith = (code: string): SqlClient => ({
    query: () => Promise.reject(Object.assign(new Error("refused"), { code })),
  });

  expect(await lastReport(failingWith("42P01"))).toBe(0);
  await expect(lastReport(failingWith("42501"))).rejects.toThrow("refused");
});
