/** Headers of the answers that a browser shows to its page, by the service that answers. */
const EXPOSED = {
  rest: "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, Range-Unit",
  auth: "X-Total-Count, Link, X-Supabase-Api-Version, X-Sb-Error-Code",
};

/** Lets a page of any origin read an answer, refusals included. */
export function openToBrowsers(response: Response, request: Request): void {
  response.headers.set("access-control-allow-origin", "*");
  response.headers.set("access-control-expose-headers", isRest(request) ? EXPOSED.rest : EXPOSED.auth);
}

/**
 * The answer to a browser's question whether it may ask, before any key is looked at; undefined when
 * the request is no such question. An OPTIONS without `Access-Control-Request-Method` asks for a
 * table's methods instead.
 */
export function preflight(request: Request): Response | undefined {
  const { method, headers } = request;
  if (method !== "OPTIONS") return undefined;
  const asked = headers.get("access-control-request-headers") ?? "";
  if (!isRest(request)) {
    return new Response(null, {
      status: 204,
      headers: {
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "access-control-allow-headers": asked || "*",
        "access-control-max-age": "86400",
      },
    });
  }
  if (!headers.has("origin") || !headers.has("access-control-request-method")) return undefined;
  const names = asked.split(",").map((name) => name.trim());
  const allowed = ["Authorization", names, "Accept", "Accept-Language", "Content-Language"];
  return new Response(null, {
    status: 200,
    headers: {
      "access-control-allow-methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD",
      "access-control-allow-headers": allowed.flat().filter(Boolean).join(", "),
      "access-control-max-age": "86400",
    },
  });
}

function isRest(request: Request): boolean {
  return new URL(request.url).pathname.startsWith("/rest/v1/");
}
