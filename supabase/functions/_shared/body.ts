import { Refusal } from "./problem.ts";
import { trimmedEnd } from "./trimmed.ts";

/**
 * What is read past the limit and thrown away, in bytes: a client that is cut off while it sends sees a broken
 * connection instead of the answer.
 */
const drained = 16 * 1024 * 1024;

/** How long a body may take to arrive, in milliseconds. */
const arrivalMs = 10_000;

/** The most characters of a number: the largest that JavaScript can hold has 309 digits. */
const longestNumber = 400;

/**
 * The request with its body in memory, where everything after may read it.
 *
 * Counted while it is read: a chunked body has no Content-Length, and a sender may lie in it. No more of it
 * is kept than it may have.
 *
 * @param limit the most bytes that it may have
 * @throws {Refusal} payload_too_large, or request_timeout
 */
export async function withBoundedBody(request: Request, limit: number): Promise<Request> {
  if (request.body === null) return request;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = request.body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), arrivalMs);
  });
  try {
    while (size <= drained) {
      const read = await Promise.race([reader.read(), tooLate]);
      if (read === undefined) {
        if (size > limit) break;
        throw new Refusal("request_timeout");
      }
      if (read.done) break;
      size += read.value.length;
      if (size <= limit) chunks.push(read.value);
    }
  } finally {
    clearTimeout(timer);
    void reader.cancel().catch(() => {}); // a sender who has gone
  }
  if (size > limit) throw new Refusal("payload_too_large", { limit });
  return new Request(request.url, {
    method: request.method,
    headers: request.headers,
    body: new Blob(chunks),
  });
}

/**
 * The JSON value in the body.
 *
 * @throws {Refusal} unsupported_media_type; invalid_request when it is not JSON in UTF-8, begins with a byte
 *   order mark, names a member twice (nobody could say which one counts), or has a number that JavaScript
 *   would round to a whole one
 */
export async function readJson(request: Request): Promise<unknown> {
  const mediaType = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (mediaType !== "application/json") throw new Refusal("unsupported_media_type");
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await request.arrayBuffer());
    value = JSON.parse(text);
  } catch {
    throw new Refusal("invalid_request", { field: "body", rule: "JSON in UTF-8, without a byte order mark" });
  }
  const hidden = hiddenFault(text);
  if (hidden !== undefined) throw new Refusal("invalid_request", hidden);
  return value;
}

/**
 * What `JSON.parse` hides: of two members with one name it takes the last, and a number that is not whole it
 * may round to one that is.
 *
 * @param json a text that is JSON
 */
function hiddenFault(json: string): { field: string; rule: string } | undefined {
  /** The names so far of each object that is open; of an array, none. */
  const open: Set<string>[] = [];
  let field = "body";
  // A string with a colon behind it is a member's name, and what is in other strings is skipped. One without an end,
  // which JSON has not, is taken to the end of the text: a search that began anew at each quote would take its square.
  for (const [token, string, colon] of json.matchAll(
    /("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?$))(\s*:)?|[{}[\]]|-?\d[\d.eE+-]*/g,
  )) {
    if (string !== undefined && colon !== undefined) {
      const names = open.at(-1)!;
      const decoded = JSON.parse(string) as string; // "\u0061" is "a"
      field = decoded.slice(0, 64);
      if (names.has(decoded)) return { field, rule: "given once" };
      names.add(decoded);
    } else if (token === "{" || token === "[") open.push(new Set());
    else if (token === "}" || token === "]") open.pop();
    else if (string !== undefined) continue;
    else if (token.length > longestNumber)
      return { field, rule: `a number of at most ${longestNumber} characters` };
    else if (isRoundedToWhole(token)) return { field, rule: "no more digits than a double holds" };
  }
  return undefined;
}

/** Whether a number is whole as JavaScript reads it, and not as it is written. */
function isRoundedToWhole(written: string): boolean {
  if (!Number.isInteger(Number(written))) return false;
  const [mantissa = "", exponent = "0"] = written.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const significant = trimmedEnd(whole + fraction, "0");
  const zeros = whole.length + fraction.length - significant.length;
  return significant !== "" && fraction.length - zeros > Number(exponent);
}

/**
 * The query as an object.
 *
 * @throws {Refusal} invalid_request when a parameter is given twice: nobody could say which one counts
 */
export function readQuery(request: Request): unknown {
  const { searchParams } = new URL(request.url);
  searchParams.delete("forceFunctionRegion"); // supabase-js adds it, for the platform
  for (const name of searchParams.keys()) {
    if (searchParams.getAll(name).length > 1) {
      throw new Refusal("invalid_request", { field: name.slice(0, 64), rule: "given once" });
    }
  }
  return Object.fromEntries(searchParams);
}
