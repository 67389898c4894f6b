import { isTooDeep, readBody } from "../gateway/http.ts";
import { refuse } from "./errors.ts";
import { contentTypeOf } from "./media-types.ts";
import { formPairs } from "./query-string.ts";

/** What a request's body holds. */
export type Payload =
  /** Rows or arguments in one JSON text, which Postgres takes apart; `columns` are the names in it, sorted. */
  | { kind: "json"; columns: readonly string[]; json: string; isCsv?: boolean }
  /** Arguments of a form: texts in their types' own notation. */
  | { kind: "form"; columns: readonly string[]; pairs: readonly (readonly [name: string, value: string])[] }
  /** The one argument of a function with one unnamed parameter of `type`. */
  | { kind: "raw"; type: string; value: string | Buffer };

/** Media types of bodies that can be a function's one unnamed argument, and the type of its parameter. */
const RAW: Readonly<Record<string, string>> = {
  "text/plain": "text",
  "text/xml": "xml",
  "application/octet-stream": "bytea",
};

/**
 * Reads a body of rows, or of a function's arguments.
 *
 * @param columns those of the query string: the body is then passed on unread, and may have other keys too.
 * @throws Refusal 400 `PGRST102` for what can't be read.
 */
export async function readPayload(
  request: Request,
  of: "table" | "function",
  columns: readonly string[] | undefined,
): Promise<Payload> {
  const type = contentTypeOf(request.headers.get("content-type"));
  if (type === "application/json") return jsonPayload(await readBody(request), of, columns);
  if (type === "text/csv") {
    const rows = readCsv(await readBody(request));
    const names = columnsOf(rows, "All lines must have same number of fields");
    return { kind: "json", columns: names, json: JSON.stringify(rows), isCsv: true };
  }
  if (type === "application/x-www-form-urlencoded") {
    const pairs = formPairs(await readBody(request));
    const fields = Object.fromEntries(pairs);
    const names = Object.keys(fields).toSorted();
    return of === "function"
      ? { kind: "form", columns: names, pairs }
      : { kind: "json", columns: names, json: JSON.stringify(fields) };
  }
  const raw = of === "function" && Object.hasOwn(RAW, type) ? RAW[type] : undefined;
  if (raw === undefined) return invalid(`Content-Type not acceptable: ${type}`);
  return {
    kind: "raw",
    type: raw,
    value: raw === "bytea" ? await readBytes(request) : await readBody(request),
  };
}

function jsonPayload(
  text: string,
  of: "table" | "function",
  columns: readonly string[] | undefined,
): Payload {
  if (isTooDeep(text)) return invalid("Empty or invalid json", "nested too deeply");
  if (columns !== undefined) return { kind: "json", columns, json: text };
  if (text === "" && of === "function") return { kind: "json", columns: [], json: "{}" };
  const body = parsed(text);
  if (Array.isArray(body) ? body.length > 0 : typeof body === "object" && body !== null) {
    return { kind: "json", columns: columnsOf(body, "All object keys must match"), json: text };
  }
  // `null`, a number and an empty array are no rows, and no arguments.
  return { kind: "json", columns: [], json: "[]" };
}

function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (/\\u[dD][89a-fA-F]/.test(text)) JSON.parse(text, refuseHalfCharacters);
    return value;
  } catch {
    return invalid("Empty or invalid json");
  }
}

/** JSON.parse takes "\ud800", which is half a character and no text that Postgres or PostgREST knows. */
function refuseHalfCharacters(key: string, value: unknown): unknown {
  if (!isWhole(key) || (typeof value === "string" && !isWhole(value)))
    throw new SyntaxError("half a character");
  return value;
}

function isWhole(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** The keys of an object, or those that each object of an array has. */
function columnsOf(body: unknown, complaint: string): string[] {
  const [first, ...others] = (Array.isArray(body) ? body : [body]) as unknown[];
  if (!isObject(first)) return Array.isArray(body) && body.length === 0 ? [] : invalid(complaint);
  const names = Object.keys(first).toSorted();
  const isLikeFirst = (row: unknown) =>
    isObject(row) &&
    Object.keys(row).length === names.length &&
    names.every((name) => Object.hasOwn(row, name));
  return others.every(isLikeFirst) ? names : invalid(complaint);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** CSV with a header line (RFC 4180); the word NULL means null. */
function readCsv(text: string): Record<string, string | null>[] {
  const [header, ...lines] = csvLines(text);
  if (header === undefined) return invalid('parse error (not enough input) at ""');
  return lines.map((line) =>
    Object.fromEntries(
      header.slice(0, line.length).map((name, i) => [name, line[i] === "NULL" ? null : line[i]!]),
    ),
  );
}

function csvLines(text: string): string[][] {
  const lines: string[][] = [];
  // A field in quotes or without, and what ends it.
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;
  let line: string[] = [];
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    if (found === null)
      return invalid(
        `parse error (Failed reading: conversion error) at ${JSON.stringify(text.slice(0, 30))}`,
      );
    line.push(found[1]?.replaceAll('""', '"') ?? found[2]!);
    if (found[3] === ",") {
      if (field.lastIndex === text.length) line.push("");
      else continue;
    }
    // Empty lines are no rows.
    if (line.length > 1 || line[0] !== "") lines.push(line);
    line = [];
  }
  if (line.length > 0) lines.push(line);
  return lines;
}

/** The body as it came; `readBody` counts its bytes first, on a copy. */
async function readBytes(request: Request): Promise<Buffer> {
  await readBody(request.clone());
  return Buffer.from(await request.arrayBuffer());
}

function invalid(message: string, details: string | null = null): never {
  return refuse(400, "PGRST102", message, { details });
}
