import { errors, type ErrorKind, type Slug } from "./errors.ts";
import type { Facts } from "./token-error.ts";

/** A deliberate no: thrown anywhere below {@link endpoint}, answered there as a problem. */
export class Refusal extends Error {
  readonly slug: Slug;
  readonly facts: Facts;

  constructor(slug: Slug, facts: Facts = {}, options?: ErrorOptions) {
    super(slug, options);
    this.slug = slug;
    this.facts = facts;
  }
}

/** Where the errors are explained. Put the published address of docs/errors.md here if you have one. */
const documentation = "docs/errors.md";

/** Seconds after which a retryable request is worth sending again. */
const retryAfterSeconds = 1;

/**
 * An error as an answer: `application/problem+json` (RFC 9457). The only constructor of one.
 *
 * @param requestId a uuid, also in the log; the only thing that an `internal_error` gives away.
 */
export function problem(refusal: Refusal, requestId: string, headers: Record<string, string> = {}): Response {
  const kind: ErrorKind = errors[refusal.slug];
  const body = JSON.stringify(problemBody(refusal, requestId));
  const response = new Response(body, { status: kind.status, headers });
  response.headers.set("content-type", "application/problem+json");
  if (kind.status === 401) response.headers.set("www-authenticate", "Bearer");
  if (kind.retryable) response.headers.set("retry-after", String(retryAfterSeconds));
  if (refusal.facts.resetsAt !== undefined) {
    const ms = new Date(refusal.facts.resetsAt).getTime() - Date.now();
    response.headers.set("retry-after", String(Math.max(1, Math.ceil(ms / 1_000))));
  }
  return response;
}

/** What an error says, also where it is part of another answer. */
export function problemBody({ slug, facts }: Refusal, requestId: string): Record<string, unknown> {
  const kind: ErrorKind = errors[slug];
  return {
    type: `${documentation}#${slug}`,
    title: kind.title,
    status: kind.status,
    detail: explain(kind, facts),
    instance: `urn:uuid:${requestId}`,
    code: slug,
    retryable: kind.retryable,
    ...facts,
  };
}

/** One sentence on this occurrence: from its facts where they say more than the hint. */
function explain(kind: ErrorKind, facts: Facts): string {
  if (facts.required !== undefined && facts.available !== undefined) {
    return `${facts.required} tokens are needed, ${facts.available} are available. ${kind.hint}`;
  }
  if (facts.field !== undefined && facts.rule !== undefined) {
    return `${facts.field}: ${facts.rule}.`;
  }
  return facts.limit === undefined ? kind.hint : kind.hint.replace("`limit`", String(facts.limit));
}
