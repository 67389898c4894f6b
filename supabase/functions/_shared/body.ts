import { Refusal } from "./problem.ts";

/** What is read past the limit and thrown away, so that the sender is still there for the answer. */
const drained = 1024 * 1024;

/**
 * The request with its body in memory, where everything after may read it.
 *
 * Counted while it is read: a chunked body has no Content-Length, and a sender may lie in it.
 *
 * @param limit the most bytes that it may have
 * @throws {Refusal} payload_too_large
 */
export async function withBoundedBody(request: Request, limit: number): Promise<Request> {
  if (request.body === null) return request;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    if (size > drained) break;
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
 * @throws {Refusal} unsupported_media_type, or invalid_request when it is not JSON in UTF-8
 */
export async function readJson(request: Request): Promise<unknown> {
  const mediaType = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (mediaType !== "application/json") throw new Refusal("unsupported_media_type");
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await request.arrayBuffer()));
  } catch {
    throw new Refusal("invalid_request", { field: "body", rule: "JSON in UTF-8" });
  }
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
