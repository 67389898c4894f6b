import { expect } from "vitest";
import { errors, type ErrorKind, isSlug, type Slug } from "../../supabase/functions/_shared/errors.ts";
import type { Answer } from "./stack.ts";

/** What no answer may hold: names of our parts, of the platform's, of places in the code, and keys. */
const internals =
  /postgres|postgrest|pgrst|sqlstate|supabase|deno|npm:|jose|zod|\bsql\b|stack|exception|\bp_[a-z]|tokenbook\.|public\.|\bat \S+ \(|\.ts\b|sb_|eyJ|\/(work|tmp|home|root)\b/i;

/** A schema's own words, which say nothing to people. */
const jargon =
  /invalid (input|string|option|key|element)|expected .*received|too (small|big)|unrecognized|nonoptional/i;

/** What is wrong with an answer that should be a problem, in words: nothing, if it is well-formed and gives nothing of our insides away. */
export function problemFaults(answer: Answer): string[] {
  const { status, headers, body, text } = answer;
  const slug: unknown = body?.code;
  if (typeof slug !== "string" || !isSlug(slug)) return [`no registered error: ${text.slice(0, 200)}`];
  const kind: ErrorKind = errors[slug];
  const faults: string[] = [];
  const must = (name: string, found: unknown, right: boolean) => {
    if (!right) faults.push(`${slug}: ${name} is ${JSON.stringify(found)}`);
  };
  const is = (name: string, found: unknown, expected: unknown) => must(name, found, found === expected);
  is("HTTP status", status, kind.status);
  is("content-type", headers.get("content-type"), "application/problem+json");
  is("access-control-allow-origin", headers.get("access-control-allow-origin"), "*");
  is("cache-control", headers.get("cache-control"), "no-store");
  is("x-supabase-server-error", headers.get("x-supabase-server-error"), null);
  is("type", body.type, `docs/errors.md#${slug}`);
  is("title", body.title, kind.title);
  is("status", body.status, kind.status);
  must("detail", body.detail, /\.$|-$/.test(String(body.detail)));
  must("instance", body.instance, /^urn:uuid:[0-9a-f-]{36}$/.test(String(body.instance)));
  is("retryable", body.retryable, kind.retryable);
  for (const member of ["detail", "rule"]) {
    must(member, body[member], !jargon.test(String(body[member] ?? "")));
  }
  const inside = internals.exec(text)?.[0];
  if (inside !== undefined) faults.push(`${slug}: says "${inside}": ${text.slice(0, 200)}`);
  return faults;
}

/** Fails unless the answer is a well-formed problem of that kind, without anything of our insides. */
export function expectProblem(answer: Answer, slug: Slug, facts: Record<string, unknown> = {}): void {
  expect(answer.body, answer.text).toMatchObject({ code: slug, ...facts });
  expect(problemFaults(answer)).toEqual([]);
}

/** The answer without what is new in each one: to compare two of them. */
export function withoutInstance(answer: Answer): unknown {
  const { instance: _, ...rest } = answer.body;
  return { status: answer.status, ...rest };
}
