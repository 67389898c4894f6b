import type { Manner } from "./manner.ts";

/** What the cases of the gateway need in the database; runs as `postgres`. */
export const gatewaySql = `
  create function public.whoami() returns text language sql stable as 'select current_user::text';
  grant execute on function public.whoami() to anon, authenticated, service_role;`;

/** What is settled before a table or a function is looked at: tokens, schemas, methods, CORS. */
export const gatewayManners: Manner[] = [
  {
    subject: "a caller without a token",
    request: "GET /rpc/whoami",
    answer: { status: 200, body: '"anon"' },
  },
  {
    subject: "a caller with a token",
    request: "GET /rpc/whoami",
    claims: { role: "authenticated" },
    answer: { status: 200, body: '"authenticated"' },
  },
  {
    subject: "a function that is not there",
    request: "POST /rpc/nowhere",
    body: "{}",
    answer: { status: 404, code: "PGRST202", headers: { "content-type": /^application\/json/ } },
  },
];
