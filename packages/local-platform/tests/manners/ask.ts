import { expect } from "vitest";
import type { ApiUnderTest } from "../api-under-test.ts";
import type { Answer, Manner } from "./manner.ts";

/** What came back for a {@link Manner}. */
export interface Given {
  status: number;
  headers: Headers;
  text: string;
}

/** Puts a case's question to an API. */
export async function ask(it: ApiUnderTest, manner: Manner): Promise<Given> {
  const [method, path] = manner.request.split(/ (.*)/s);
  const headers = new Headers(manner.headers);
  if (manner.isServer) headers.set("apikey", it.keys.secretKey);
  if (manner.claims !== undefined) {
    headers.set("authorization", `Bearer ${await it.token(manner.claims)}`);
  }
  const { body } = manner;
  const init = body === undefined ? { method: method!, headers } : { method: method!, headers, body };
  const response = await it.fetch(`/rest/v1${path}`, init);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** @throws what differs between the answer and the one that is expected. */
export function compare(given: Given, { status, code, body, headers = {} }: Answer): void {
  // The text goes along: a wrong status alone says nothing about its reason.
  expect({ status: given.status, text: given.text }).toEqual({ status, text: expect.any(String) });
  if (code !== undefined) expect(JSON.parse(given.text)).toMatchObject({ code });
  if (typeof body === "string") expect(given.text).toBe(body);
  else if (body !== undefined) expect(JSON.parse(given.text)).toMatchObject(body as object);
  for (const [name, value] of Object.entries(headers)) {
    const header = given.headers.get(name);
    if (typeof value === "string") expect({ [name]: header }).toEqual({ [name]: value });
    else expect({ [name]: header }).toEqual({ [name]: expect.stringMatching(value) });
  }
}
