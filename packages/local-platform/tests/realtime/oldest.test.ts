// @module-tag proof
/** supabase-js 2.0.0 with the Realtime client of that day, as npm installs them, over serializer 1.0.0. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import { project } from "../project.ts";
import { ALICE, BOB, brief, commitAtOnce, hears, listen, SQL } from "./listening.ts";

const versions = { "@supabase/supabase-js": "2.0.0", "@supabase/realtime-js": "2.0.0" };

let api: ApiUnderTest;
let folder: string;
let createClient: typeof import("@supabase/supabase-js").createClient;

beforeAll(async () => {
  mkdirSync(project.root, { recursive: true });
  folder = mkdtempSync(join(project.root, "oldest-"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: versions }));
  const install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  await promisify(execFile)("npm", install, { cwd: folder });
  ({ createClient } = createRequire(join(folder, "of.js"))(
    "@supabase/supabase-js",
  ) as typeof import("@supabase/supabase-js"));
  api = await startApiUnderTest(SQL);
  await commitAtOnce(api);
}, 120_000);
afterAll(async () => {
  await api.close();
  rmSync(folder, { recursive: true });
});

test("the oldest supabase-js of version 2 hears of its user's own rows, and of nobody else's", async () => {
  const client = createClient(api.api.url, api.keys.publishableKey, { auth: { persistSession: false } });
  client.realtime.setAuth(await api.token({ sub: ALICE, role: "authenticated" }));
  const heard = await listen(client, { table: "accounts" });
  await api.db.admin.query("insert into public.accounts (user_id, tags) values ($1, '{}'), ($2, '{a,b}')", [
    BOB,
    ALICE,
  ]);
  await api.db.admin.query("update public.accounts set balance = 7");
  await hears(heard, 2);
  expect(brief(heard, "user_id")).toEqual([`INSERT ${ALICE}`, `UPDATE ${ALICE}`]);
  expect(heard.changes[1].new).toMatchObject({ balance: 7, tags: ["a", "b"] });
  expect(heard.statuses).toEqual(["SUBSCRIBED"]);
  await client.removeAllChannels();
});
