// @module-tag proof
/** The commands that only read, with the address of a read replica. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { run, runHere } from "../support/command.ts";
import { type Replicated, startReplicated } from "../support/standby.ts";

let both: Replicated;
let user: PopulatedUser;
const folder = mkdtempSync(join(tmpdir(), "tokenbook-replica-"));
beforeAll(async () => {
  both = await startReplicated();
  user = await populateUser(both.primary);
  await both.caughtUp();
});
afterAll(async () => {
  await both.close();
  rmSync(folder, { recursive: true });
});

/** Without what differs from run to run: the time that it took, and which database it was. */
const plain = (text: string) =>
  text.replaceAll(/127\.0\.0\.1:\d+/g, "there").replaceAll(/\d+(\.\d+)? (m?s)\b/g, "a while");

test.each([
  ["verify", ["--json"]],
  ["doctor", ["--json"]],
  ["reconcile", ["--json"]],
  ["restate", ["--json"]],
  ["prices", ["list", "--json"]],
  ["status", ["--json"]],
  ["admin", ["list", "--json"]],
])("%s says of a replica what it says of the primary", async (name, args) => {
  const [there, here] = [both.primary, both.standby].map((db) => [...args, "--db-url", db.url()]);
  const one = name === "verify" ? run : runHere; // it writes as a stream
  const expected = await one(name, there!);
  const said = await one(name, here!);
  expect(said.stderr).toBe(expected.stderr);
  expect(said.status).toBe(expected.status);
  expect(plain(said.stdout)).toBe(plain(expected.stdout));
  expect(said.stdout.length).toBeGreaterThan(10);
});

test("export and checkpoint write of a replica what they write of the primary", async () => {
  const files = await Promise.all(
    (["primary", "standby"] as const).map(async (which) => ({
      csv: join(folder, `${which}.csv`),
      checkpoint: join(folder, `${which}.checkpoint`),
      url: both[which].url(),
    })),
  );
  for (const { csv, checkpoint, url } of files.toReversed()) {
    for (const [name, args] of [
      ["export", ["--user", user.id, "--output", csv]],
      ["checkpoint", ["--output", checkpoint]],
    ] as const)
      expect(await runHere(name, [...args, "--db-url", url])).toMatchObject({ status: 0 });
  }
  const [there, here] = files.map(({ csv, checkpoint }) => ({
    csv: readFileSync(csv, "utf8"),
    // its first line says when, and its last is the digest of all
    checkpoint: readFileSync(checkpoint, "utf8").trim().split("\n").slice(1, -1),
  }));
  expect(here).toEqual(there);
  expect(here!.csv.split("\n").length).toBeGreaterThan(5);
  expect(here!.checkpoint.length).toBeGreaterThan(0);
});

test("what writes says that it is a replica, and nothing is changed", async () => {
  const url = both.standby.url();
  const checkpoint = join(folder, "other.checkpoint");
  await runHere("checkpoint", ["--output", checkpoint, "--db-url", url]);
  for (const [name, args] of [
    ["prices", ["set", "a-model", "--input", "1"]],
    ["forget", [user.id, "--yes"]],
    // it brings its own functions, so that it need not trust the database's
    ["verify", ["--checkpoint", checkpoint]],
  ] as const) {
    const said = await runHere(name, [...args, "--db-url", url]);
    expect(said, name).toMatchObject({ status: 2 });
    expect(said.stderr).toMatch(/is read-only, as a read replica is: .*\nGive the address of the primary/);
  }
});
