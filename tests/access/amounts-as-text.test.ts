/** What of a JSON value becomes which number of tokens, through the API: the table in the head of docs/reference.md. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { type Api, type CallerFixture, createCallerFixture, openApi } from "../support/callers.ts";

let fixture: CallerFixture;
let api: Api;
beforeAll(async () => {
  fixture = await createCallerFixture();
  api = await openApi(fixture);
});
afterAll(async () => {
  await api.close();
  await fixture.close();
});

/** As it stands in a body, and the tokens that are granted for it, or the SQLSTATE that it is refused with. */
const readings: [json: string, becomes: number | string][] = [
  ["16", 16],
  ["1e3", "22P02"],
  ["1.5", "22P02"],
  ["16.0", "22P02"],
  ['"16"', 16],
  ['" 16 "', 16],
  ['"+16"', 16],
  ['"0x10"', 16],
  ['"0b11"', 3],
  ['"0o17"', 15],
  ['"1_000"', 1_000],
  ['"1,000"', "22P02"],
  ['"1e3"', "22P02"],
  ['"1.5"', "22P02"],
  ['""', "22P02"],
  ["true", "22P02"],
  ["[16]", "22P02"],
  ["null", "PT400"],
  ["0", "PT400"],
  ["-1", "PT400"],
  ["1000000000001", "PT400"],
  ["9223372036854775808", "22003"],
];

test.each(readings)("%s is %s", async (json, becomes) => {
  const { body } = await api.ask("server", "rpc/grant_tokens", {
    method: "POST",
    body: `{"p_user_id": "${fixture.user.id}", "p_tokens": ${json}}`,
  });
  const answer = body as { tokens_granted?: number; code?: string };
  expect(answer.tokens_granted ?? answer.code).toBe(becomes);
});

test("the reference says so, in the words of this table", () => {
  const head = readFileSync(join(projectRoot, "docs/reference.md"), "utf8").split("### ")[0]!;
  const said = [...head.matchAll(/`("[^`]*")` is ([\d,]+)/g)].map(([, json, number]) => [
    json,
    Number(number!.replaceAll(",", "")),
  ]);
  expect(said.length).toBeGreaterThan(2);
  for (const reading of said) expect(readings).toContainEqual(reading);
});
