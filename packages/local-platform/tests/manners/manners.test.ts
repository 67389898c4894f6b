// @module-tag proof
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import { ask, compare } from "./ask.ts";
import { gatewayManners, gatewaySql } from "./gateway-cases.ts";
import type { Answer, Manner } from "./manner.ts";
import { restManners, restSql } from "./rest-cases.ts";
import { withTable } from "./table.ts";

const manners = gatewayManners.concat(restManners);

let it: ApiUnderTest;
beforeAll(async () => {
  it = await startApiUnderTest(`${gatewaySql}\n${restSql}`);
});
afterAll(() => it?.close());

describe("the API's manners:", () => {
  for (const manner of manners) {
    // Not test.each, which cuts what it puts into a name.
    test(manner.subject, async () => {
      compare(await ask(it, manner), manner.answer);
    });
  }
});

test("no two cases have one subject", () => {
  const subjects = manners.map(({ subject }) => subject);
  expect(subjects.filter((subject, i) => subjects.indexOf(subject) !== i)).toEqual([]);
});

test("the README's table has every case (made anew with -u)", async () => {
  const file = fileURLToPath(new URL("../../README.md", import.meta.url));
  await expect(withTable(readFileSync(file, "utf8"), manners)).toMatchFileSnapshot(file);
});

/** A question with a known answer; each of the expectations beside it is wrong in one way. */
const asked: Manner = {
  subject: "a control",
  request: "POST /rpc/nowhere",
  headers: { "content-type": "application/json" },
  body: "{}",
  answer: { status: 404, code: "PGRST202", body: { hint: null }, headers: { "content-type": /json/ } },
};
const wrong: [part: string, answer: Answer][] = [
  ["status", { status: 400 }],
  ["code", { status: 404, code: "PGRST205" }],
  ["part of the body", { status: 404, body: { hint: "look elsewhere" } }],
  ["text", { status: 404, body: "{}" }],
  ["header", { status: 404, headers: { "content-type": "text/plain" } }],
  ["header's form", { status: 404, headers: { "content-type": /^text/ } }],
  ["header that is not there", { status: 404, headers: { "x-nowhere": /./ } }],
];

test.each(wrong)("control: a case that expects another %s fails", async (_part, answer) => {
  const given = await ask(it, asked);
  compare(given, asked.answer);
  expect(() => compare(given, answer)).toThrow();
});

test("control: a README that has lost its markers is no README with a table", () => {
  expect(() => withTable("# Local platform\n", manners)).toThrow(/has lost/);
});
