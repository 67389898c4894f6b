/** What is wrong with a value, in our words. The one place where a schema's error becomes a sentence for people. */
import type { z } from "zod";

/** The first thing that is wrong with a value. */
export interface Fault {
  /** Where, from the outside in; empty for the value as a whole. */
  path: string[];
  /** What it must be. */
  rule: string;
  /** A field that there must not be. */
  unknown?: string;
}

/** The value as the schema makes it, or what is wrong with it. */
export function parsed<T>(schema: z.ZodType<T>, value: unknown): { data: T } | { fault: Fault } {
  const result = schema.safeParse(value, { error: inWords });
  if (result.success) return { data: result.data };
  const issue = result.error.issues[0]!;
  return {
    fault: {
      path: issue.path.map(String),
      rule: issue.message,
      ...(issue.code === "unrecognized_keys" && { unknown: issue.keys[0]! }),
    },
  };
}

/** The value, where it is as the schema says; undefined where it is not, or is not there. */
export function known<T>(schema: z.ZodType<T>, value: unknown): T | undefined {
  const result = parsed(schema, value);
  return "data" in result ? result.data : undefined;
}

/** What types are called. */
const kinds: Record<string, string> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
  nonoptional: "given",
};

/** What a value must be of which its schema does not say so itself: a schema's own words count before these. */
function inWords(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return kinds[issue.expected] ?? "as it is documented";
    case "invalid_value":
      return `one of ${issue.values.map(String).join(", ")}`;
    case "too_small":
      return `at least ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `at most ${issue.maximum}${unitOf(issue.origin)}`;
    case "unrecognized_keys":
      return "not a field of this request";
    default:
      return "as it is documented";
  }
}

const unitOf = (origin: string) => (origin === "string" ? " characters" : origin === "array" ? " items" : "");
