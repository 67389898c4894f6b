// @module-tag proof
/** The whole way of a project with a counter of its own, and out again from each place on it. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { runHere } from "../support/command.ts";
import { asUser, rpc } from "../support/roles.ts";
import { ann, answersOf, ben, factsOf, projects, startProject, touched } from "./guest.ts";

/** What each project's counter is, and by how much the app's users see it change. */
const counters: Record<string, { from: string; table: string; column: string }> = {
  "a-credits": { from: "profiles.credits", table: "profiles", column: "credits" },
  "d-profiles-by-id": {
    from: "user_profiles",
    table: "user_profiles",
    column: "vibe_assistant_tokens_remaining",
  },
};

const ways = [
  ["a-credits", "shadow"],
  ["a-credits", "read_only"],
  ["d-profiles-by-id", "writable"],
  ["d-profiles-by-id", "stopped"],
] as const;

test.each(ways)("%s, out again from %s: as it was before", { timeout: 120_000 }, async (name, state) => {
  const guest = await startProject(name);
  const { from, table, column } = counters[name]!;
  const times: Record<string, number> = {};
  const tokenbook = async (command: string, ...args: string[]) => {
    const begin = performance.now();
    const said = await runHere(command, [...args, "--db-url", guest.db.url(), "--workdir", guest.root]);
    times[[command, ...args.filter((one) => /^--(start|stop|writable)$/.test(one))].join(" ")] =
      Math.round(performance.now() - begin) / 1000;
    return said;
  };
  const facts = await factsOf(guest.db);
  const answers = await answersOf(guest.db, projects[name]!);
  const ofAnn = `select ${column} as counter from public.${table} where id = '${ann}'`;
  const counter = async () => Number((await guest.db.admin.query(ofAnn)).rows[0].counter);

  expect(await tokenbook("install", "--yes", "--functions", "none")).toMatchObject({ status: 0 });
  expect(await tokenbook("import", "--from", from, "--book")).toMatchObject({ status: 0 });
  expect(await tokenbook("shadow", "--from", from, "--start")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("No difference"),
  });
  expect(await answersOf(guest.db, projects[name]!), "nothing the app sees changes").toEqual(answers);
  const there = await tokenbook("check", "--functions", "none");
  expect(there.stdout).toContain("is right, and the books follow it; nothing waits to be booked");
  await guest.db.admin.query(
    `update public.${table} set ${column} = ${column} + 9 where id in ('${ann}', '${ben}')`,
  );
  const before = await counter();
  expect(await tokenbook("shadow")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("2 changes: 18 tokens granted"),
  });

  if (state === "stopped") expect(await tokenbook("shadow", "--stop")).toMatchObject({ status: 0 });
  else if (state !== "shadow") {
    const writable = state === "writable" ? ["--writable"] : [];
    expect(await tokenbook("switch", "--yes", ...writable)).toMatchObject({ status: 0 });
    await asUser(guest.db, ann, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: ann, p_tokens_to_deduct: 4 }),
    );
    expect(await tokenbook("shadow")).toMatchObject({ status: 0 });
    expect(await counter()).toBe(before - 4);
  }

  const removed = await tokenbook("uninstall", "--yes", "--export", join(guest.root, "books"));
  expect(removed).toMatchObject({ status: 0, stdout: expect.stringContaining("nothing else has changed") });
  console.log(`${name}, from ${state}: seconds=${JSON.stringify(times)}`);
  expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
  expect([...(await factsOf(guest.db)).keys()].filter((fact) => !facts.has(fact))).toEqual([]);
  await guest.db.admin.query(`update public.${table} set ${column} = ${column} + 1 where id = '${ann}'`);
  await guest.remove();
});
