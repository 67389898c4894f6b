// @module-tag proof
import { expect, test } from "vitest";
import { measureCheckpoint } from "../../../scripts/bench/measure-checkpoint.ts";
import { createDatabase } from "../../support/database.ts";

test("the measurement measures what it says: everything the first time, then what is new, then nothing", async () => {
  const db = await createDatabase();
  const client = await db.admin.connect();
  const { lines, breaches } = await measureCheckpoint(client, { entries: 20_000, users: 200, added: 500 });
  client.release();
  await db.drop();

  for (const line of lines) console.log(line);
  expect(lines.join("\n")).toMatch(
    /first checkpoint: 20,000 entries read [^]*after 500 new entries: 500 entries read [^]*after none: 0 entries read /,
  );
  expect(breaches).toBe(0);
}, 60_000);
