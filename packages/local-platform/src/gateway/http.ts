/** An answer that ends a request early. */
export class Refusal extends Error {
  override name = "Refusal";
  readonly response: Response;

  constructor(response: Response) {
    super(`HTTP ${response.status}`);
    this.response = response;
  }
}

/** Whether an answer with this status has a body in HTTP; a function may ask for any status. */
export function hasBody(status: number): boolean {
  return ![204, 205, 304].includes(status);
}

/** A JSON answer. A string is sent as it is: Postgres has encoded it already. */
export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response(hasBody(status) ? text : null, {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
  });
}

/** The largest body that the API reads, in bytes. The hosted gateway has such a limit too. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** So much of a body that is too large is read and thrown away before the connection is cut, in bytes. */
const MAX_DISCARDED_BYTES = 32 * MAX_BODY_BYTES;

/**
 * The deepest nesting of a JSON body. Postgres recurses while it parses and gives up with 54001, a
 * server error whose hint talks about its stack; nobody's arguments are nested like that by accident.
 */
export const MAX_JSON_DEPTH = 1000;

/**
 * Reads a request's body as text.
 *
 * @throws Refusal 413 when it is larger than {@link MAX_BODY_BYTES}, whatever its Content-Length says.
 */
export async function readBody(request: Request): Promise<string> {
  const announced = request.headers.get("content-length");
  if (announced !== null) {
    if (Number(announced) > MAX_BODY_BYTES) throw tooLarge();
    return textOf(await request.arrayBuffer());
  }
  if (request.body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    // A sender that is cut off in the middle sees a broken connection instead of the answer.
    else if (size > MAX_DISCARDED_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) throw tooLarge();
  return textOf(Buffer.concat(chunks));
}

/** With its byte order mark, if it has one: `Request.text()` would drop it, and no JSON begins with one. */
function textOf(bytes: ArrayBuffer | Buffer): string {
  return Buffer.from(bytes as ArrayBuffer).toString("utf8");
}

/** Whether a JSON text opens more brackets inside one another than {@link MAX_JSON_DEPTH}. Linear; allocates nothing. */
export function isTooDeep(text: string): boolean {
  if (text.length <= 2 * MAX_JSON_DEPTH) return false;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (inString) {
      if (character === BACKSLASH) i++;
      else if (character === QUOTE) inString = false;
    } else if (character === QUOTE) inString = true;
    else if (character === OPEN_BRACE || character === OPEN_BRACKET) {
      if (++depth > MAX_JSON_DEPTH) return true;
    } else if (character === CLOSE_BRACE || character === CLOSE_BRACKET) depth--;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

function tooLarge(): Refusal {
  return new Refusal(json({ message: "Request size limit exceeded" }, 413));
}
