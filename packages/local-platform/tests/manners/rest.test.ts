import { afterAll, beforeAll, expect, test } from "vitest";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import { restManners, restSql } from "./rest-cases.ts";

let it: ApiUnderTest;

beforeAll(async () => {
  it = await startApiUnderTest(restSql);
});
afterAll(() => it?.close());

test.each(restManners)("$subject: $request", async ({ request, headers, body, claims, answer }) => {
  const [method, ...path] = request.split(" ");
  const authorization = claims && { authorization: `Bearer ${await it.token(claims)}` };
  const response = await it.fetch(`/rest/v1${path.join(" ")}`, {
    method: method!,
    headers: { ...headers, ...authorization },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  expect({ status: response.status, text }).toEqual({ status: answer.status, text });
  if (answer.code !== undefined) expect(JSON.parse(text)).toMatchObject({ code: answer.code });
  if (typeof answer.body === "string") expect(text).toBe(answer.body);
  else if (answer.body !== undefined) expect(JSON.parse(text)).toMatchObject(answer.body as object);
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    const given = response.headers.get(name) ?? "";
    if (typeof value === "string") expect({ [name]: given }).toEqual({ [name]: value });
    else expect(given).toMatch(value);
  }
});
