import { expect } from "vitest";
import { errors, type Slug } from "../../supabase/functions/_shared/errors.ts";
import type { Answer } from "./stack.ts";

/** What no answer may hold: names of our parts, of the platform's, of places in the code, and keys. */
const internals =
  /postgres|postgrest|pgrst|sqlstate|supabase|deno|npm:|jose|zod|\bsql\b|stack|exception|\bp_[a-z]|private\.|public\.|\bat \S+ \(|\.ts\b|sb_|eyJ|\/(work|tmp|home|root)\b/i;

/** Fails unless the answer is a well-formed problem of that kind, without anything of our insides. */
export function expectProblem(answer: Answer, slug: Slug, facts: Record<string, unknown> = {}): void {
  expect(answer.body, answer.text).toMatchObject({ code: slug, ...facts });
  const kind = errors[slug];
  expect(answer.status).toBe(kind.status);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(answer.headers.get("x-supabase-server-error")).toBeNull();
  expect(answer.body).toMatchObject({
    type: `docs/errors.md#${slug}`,
    title: kind.title,
    status: kind.status,
    detail: expect.stringMatching(/\.$|-$/),
    instance: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
    retryable: kind.retryable,
  });
  expect(answer.text).not.toMatch(internals);
}

/** The answer without what is new in each one: to compare two of them. */
export function withoutInstance(answer: Answer): unknown {
  const { instance: _, ...rest } = answer.body;
  return { status: answer.status, ...rest };
}
