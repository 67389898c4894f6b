import type { Answer, Manner } from "./manner.ts";

/** What the cases of the gateway need in the database; runs as `postgres`. */
export const gatewaySql = `
  create function public.whoami() returns text language sql stable as 'select current_user::text';
  create function public.claims() returns jsonb language sql stable as $$
    select current_setting('request.jwt.claims')::jsonb $$;
  create function public.gateway_writes() returns int language sql volatile as 'select 1';
  grant execute on function public.whoami(), public.claims() to anon, authenticated, service_role;

  create table public.keyed (id int primary key, word text);
  create table public.keyless (word text);
  create view public.keyed_words with (security_invoker = true) as select word from public.keyed;
  create view public.keyed_count with (security_invoker = true) as select count(*) from public.keyed;
  create view public.keyed_all with (security_invoker = true) as select * from public.keyed;
  create function public.gateway_adds(p_a int) returns int language sql stable as 'select p_a + 1';
  grant select on public.keyed to authenticated;

  -- A sequence remembers what a transaction that is rolled back has done.
  create sequence public.runs_40001;
  create sequence public.runs_40p01;
  create sequence public.runs_40003;
  create function public.in_conflict(p_code text, p_times bigint) returns bigint language plpgsql as $$
    declare v_run bigint := nextval('public.runs_' || lower(p_code));
    begin
      if v_run <= p_times then raise exception using errcode = p_code, message = 'in conflict'; end if;
      return v_run;
    end $$;
  grant usage on sequence public.runs_40001, public.runs_40p01, public.runs_40003 to anon;
  grant execute on function public.in_conflict(text, bigint) to anon;`;

const now = Math.floor(Date.now() / 1000);
/** Beyond the 30 seconds that clocks may be apart, and well within them. */
const [beyond, within] = [35, 20];

const asUser = { role: "authenticated" };
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** A header and claims without a signature that anybody has made. */
const unsigned = (header: object) => bearer(`${encode(header)}.${encode(asUser)}.AAAA`);

function refused(code: string, message: string, details: string | null = null): Answer {
  return {
    status: 401,
    code,
    body: { code, message, details, hint: null },
    headers: {
      "www-authenticate": `Bearer error="invalid_token", error_description="${message}"`,
      "proxy-status": `PostgREST; error=${code}`,
    },
  };
}

const tokens: Manner[] = [
  {
    subject: "no token",
    request: "GET /rpc/whoami",
    answer: { status: 200, body: '"anon"', headers: { "content-type": "application/json; charset=utf-8" } },
  },
  {
    subject: "a good token",
    request: "GET /rpc/whoami",
    claims: asUser,
    answer: { status: 200, body: '"authenticated"' },
  },
  {
    subject: "another scheme than Bearer is no token",
    request: "GET /rpc/whoami",
    headers: { authorization: "Basic YTpi" },
    answer: { status: 200, body: '"anon"' },
  },
  {
    subject: "a token without exp is good for ever",
    request: "GET /rpc/whoami",
    claims: { ...asUser, exp: undefined },
    answer: { status: 200, body: '"authenticated"' },
  },
  {
    subject: "a token that expired a moment ago, within the clocks' skew",
    request: "GET /rpc/whoami",
    claims: { ...asUser, exp: now - within },
    answer: { status: 200 },
  },
  {
    subject: "a token that has expired",
    request: "GET /rpc/whoami",
    claims: { ...asUser, exp: now - beyond },
    answer: refused("PGRST303", "JWT expired"),
  },
  {
    subject: "a token whose exp has a fraction counts as expired in 1970",
    request: "GET /rpc/whoami",
    claims: { ...asUser, exp: now + 600.5 },
    answer: refused("PGRST303", "JWT expired"),
  },
  {
    subject: "a token that is good in a moment, within the skew",
    request: "GET /rpc/whoami",
    claims: { ...asUser, nbf: now + within, iat: now + within },
    answer: { status: 200 },
  },
  {
    subject: "a token that is not good yet",
    request: "GET /rpc/whoami",
    claims: { ...asUser, nbf: now + 600 },
    answer: refused("PGRST303", "JWT not yet valid"),
  },
  {
    subject: "a token from the future",
    request: "GET /rpc/whoami",
    claims: { ...asUser, iat: now + 600 },
    answer: refused("PGRST303", "JWT issued at future"),
  },
  ...["exp", "nbf", "iat"].map((claim): Manner => ({
    subject: `a claim ${claim} that is no number`,
    request: "GET /rpc/whoami",
    claims: { ...asUser, [claim]: "soon" },
    answer: refused("PGRST303", `The JWT '${claim}' claim must be a number`),
  })),
  {
    subject: "any audience is right",
    request: "GET /rpc/whoami",
    claims: { ...asUser, aud: ["elsewhere", "nowhere"] },
    answer: { status: 200 },
  },
  {
    subject: "an audience that is no text",
    request: "GET /rpc/whoami",
    claims: { ...asUser, aud: { name: "here" } },
    answer: refused("PGRST303", "The JWT 'aud' claim must be a string or an array of strings"),
  },
  {
    subject: "an audience with a member that is no text",
    request: "GET /rpc/whoami",
    claims: { ...asUser, aud: ["here", 1] },
    answer: refused("PGRST303", "The JWT 'aud' claim must be a string or an array of strings"),
  },
  {
    subject: "an empty token",
    request: "GET /rpc/whoami",
    headers: { authorization: "Bearer" },
    answer: refused("PGRST301", "Empty JWT is sent in Authorization header"),
  },
  {
    subject: "a token of two parts",
    request: "GET /rpc/whoami",
    headers: bearer("abc.def"),
    answer: refused("PGRST301", "Expected 3 parts in JWT; got 2"),
  },
  {
    subject: "a token of one part",
    request: "GET /rpc/whoami",
    headers: bearer("garbage"),
    answer: refused("PGRST301", "Expected 3 parts in JWT; got 1"),
  },
  {
    subject: "three parts that are no token",
    request: "GET /rpc/whoami",
    headers: bearer("quif.fonv.iuqv"),
    answer: refused("PGRST301", "JWT cryptographic operation failed"),
  },
  {
    subject: "a token with padding",
    request: "GET /rpc/whoami",
    headers: bearer(`${encode({ alg: "ES256" })}.${encode(asUser)}.AAA=`),
    answer: refused("PGRST301", "JWT cryptographic operation failed"),
  },
  {
    subject: "a token without a signature",
    request: "GET /rpc/whoami",
    headers: unsigned({ alg: "none" }),
    answer: refused(
      "PGRST301",
      "Wrong or unsupported encoding algorithm",
      "JWT is unsecured but expected 'alg' was not 'none'",
    ),
  },
  {
    subject: "a token with an unknown algorithm",
    request: "GET /rpc/whoami",
    headers: unsigned({ alg: "XX999" }),
    answer: refused("PGRST301", "JWT cryptographic operation failed"),
  },
  {
    subject: "a token of another algorithm than the key's",
    request: "GET /rpc/whoami",
    headers: unsigned({ alg: "HS256" }),
    answer: refused(
      "PGRST301",
      "No suitable key or wrong key type",
      "No suitable key was found to decode the JWT",
    ),
  },
  {
    subject: "a token of an unknown key",
    request: "GET /rpc/whoami",
    headers: unsigned({ alg: "ES256", kid: "another" }),
    answer: refused(
      "PGRST301",
      "No suitable key or wrong key type",
      "No suitable key was found to decode the JWT",
    ),
  },
  {
    subject: "a token with a wrong signature",
    request: "GET /rpc/whoami",
    headers: unsigned({ alg: "ES256" }),
    answer: refused(
      "PGRST301",
      "No suitable key or wrong key type",
      "None of the keys was able to decode the JWT",
    ),
  },
  {
    subject: "a bad token is refused before a bad path",
    request: "GET /a/b/c",
    headers: bearer("garbage"),
    answer: { status: 401, code: "PGRST301" },
  },
  {
    subject: "a bad token on a table, asked by HEAD",
    request: "HEAD /keyed",
    headers: bearer("garbage"),
    answer: { status: 401, body: "", headers: { "proxy-status": "PostgREST; error=PGRST301" } },
  },
];

const roles: Manner[] = [
  {
    subject: "a token without a role is anon's, and its claims say so",
    request: "GET /rpc/claims",
    claims: { sub: "aaaaaaaa-0000-4000-8000-000000000001" },
    answer: { status: 200, body: { role: "anon", sub: "aaaaaaaa-0000-4000-8000-000000000001" } },
  },
  ...[
    ["null", null],
    ["5", 5],
    ["nobody", "nobody"],
  ].map(([name, role]): Manner => ({
    subject: `a role ${role === name ? "that does not exist" : `that is no text: ${name}`}`,
    request: "GET /rpc/whoami",
    claims: { role },
    answer: {
      status: 401,
      code: "22023",
      body: { message: `role "${name}" does not exist` },
      headers: { "www-authenticate": "Bearer", "proxy-status": "PostgREST; error=22023" },
    },
  })),
  {
    subject: "a role that the API may not become",
    request: "GET /rpc/whoami",
    claims: { role: "postgres" },
    answer: {
      status: 403,
      code: "42501",
      body: { message: 'permission denied to set role "postgres"' },
      headers: { "proxy-status": "PostgREST; error=42501" },
    },
  },
  {
    subject: "a table in the name of a role that the API may not become",
    request: "GET /keyed",
    claims: { role: "supabase_admin" },
    answer: { status: 403, code: "42501" },
  },
  {
    subject: "a missing right, without a token",
    request: "GET /keyed",
    answer: {
      status: 401,
      code: "42501",
      headers: { "www-authenticate": "Bearer", "proxy-status": "PostgREST; error=42501" },
    },
  },
  {
    subject: "a missing right, with a token",
    request: "GET /keyless",
    claims: asUser,
    answer: { status: 403, code: "42501", headers: { "proxy-status": "PostgREST; error=42501" } },
  },
];

function wrongSchema(name: string): Answer {
  return {
    status: 406,
    code: "PGRST106",
    body: {
      code: "PGRST106",
      message: `Invalid schema: ${name}`,
      details: null,
      hint: "Only the following schemas are exposed: public",
    },
    headers: { "proxy-status": "PostgREST; error=PGRST106" },
  };
}

const paths: Manner[] = [
  {
    subject: "a schema that is not exposed, reading",
    request: "GET /keyed",
    headers: { "Accept-Profile": "auth" },
    answer: wrongSchema("auth"),
  },
  {
    subject: "a schema that is not exposed, calling by POST",
    request: "POST /rpc/whoami",
    headers: { "Content-Profile": "auth" },
    answer: wrongSchema("auth"),
  },
  {
    subject: "a schema that is not exposed, by HEAD",
    request: "HEAD /keyed",
    headers: { "Accept-Profile": "auth" },
    answer: { status: 406, body: "", headers: { "proxy-status": "PostgREST; error=PGRST106" } },
  },
  {
    subject: "the other header's schema is not looked at",
    request: "GET /rpc/whoami",
    headers: { "Content-Profile": "auth" },
    answer: { status: 200 },
  },
  {
    subject: "a schema asked for by name is named in the answer",
    request: "GET /rpc/whoami",
    headers: { "Accept-Profile": "public" },
    answer: { status: 200, headers: { "content-profile": "public" } },
  },
  {
    subject: "the description of the project, with the publishable key",
    request: "GET /",
    answer: { status: 403, body: { message: "You cannot consume this service" } },
  },
  {
    subject: "the description of the project (OpenAPI), for a user's token: what users may see",
    request: "GET /",
    isServer: true,
    claims: asUser,
    answer: {
      status: 200,
      headers: { "content-type": "application/openapi+json; charset=utf-8" },
      body: { swagger: "2.0", paths: { "/keyed": { get: { tags: ["keyed"] } } } },
    },
  },
  {
    subject: "the description of the project (OpenAPI), asked by HEAD",
    request: "HEAD /",
    isServer: true,
    answer: { status: 200, body: "", headers: { "content-type": "application/openapi+json; charset=utf-8" } },
  },
  ...["GET /a/b", "POST /rpc/a/b", "GET /keyed/"].map((request): Manner => ({
    subject: `a path that leads nowhere: ${request.split(" ")[1]}`,
    request,
    answer: {
      status: 404,
      code: "PGRST125",
      body: { message: "Invalid path specified in request URL", details: null, hint: null },
      headers: { "proxy-status": "PostgREST; error=PGRST125" },
    },
  })),
  {
    subject: "a path that is no UTF-8 is the name of nothing",
    request: "GET /rpc/%ff",
    answer: { status: 404, code: "PGRST202" },
  },
  {
    subject: "a method that tables do not know",
    request: "PROPFIND /keyed",
    answer: {
      status: 405,
      code: "PGRST117",
      body: { message: "Unsupported HTTP method: PROPFIND", details: null, hint: null },
      headers: { "proxy-status": "PostgREST; error=PGRST117" },
    },
  },
  {
    subject: "a method that functions do not know",
    request: "DELETE /rpc/whoami",
    answer: {
      status: 405,
      code: "PGRST101",
      body: { message: "Cannot use the DELETE method on RPC", details: null, hint: null },
    },
  },
  {
    subject: "a wrong schema is refused before a wrong method",
    request: "DELETE /rpc/whoami",
    headers: { "Content-Profile": "auth" },
    answer: { status: 406, code: "PGRST106" },
  },
];

function allows(methods: string): Answer {
  return { status: 200, body: "", headers: { allow: methods, "access-control-allow-origin": "*" } };
}

const options: Manner[] = [
  {
    subject: "OPTIONS of a table",
    request: "OPTIONS /keyed",
    answer: allows("OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
  },
  {
    subject: "OPTIONS of a table without a primary key",
    request: "OPTIONS /keyless",
    answer: allows("OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
  },
  {
    subject: "OPTIONS of a view that Postgres can write through",
    request: "OPTIONS /keyed_words",
    answer: allows("OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
  },
  {
    subject: "OPTIONS of a view that can only be read",
    request: "OPTIONS /keyed_count",
    answer: allows("OPTIONS,GET,HEAD"),
  },
  {
    subject: "OPTIONS of a view that shows its table's primary key",
    request: "OPTIONS /keyed_all",
    answer: allows("OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
    differs: "It allows PUT too: it follows a primary key through a view.",
  },
  {
    subject: "OPTIONS of a table that is not there",
    request: "OPTIONS /nowhere",
    answer: { status: 404, code: "PGRST205", headers: { "proxy-status": "PostgREST; error=PGRST205" } },
  },
  {
    subject: "OPTIONS of a function that only reads",
    request: "OPTIONS /rpc/whoami",
    answer: allows("OPTIONS,GET,HEAD,POST"),
  },
  {
    subject: "OPTIONS of a function that writes",
    request: "OPTIONS /rpc/gateway_writes",
    answer: allows("OPTIONS,POST"),
  },
  {
    subject: "OPTIONS of a function without the argument that it needs",
    request: "OPTIONS /rpc/gateway_adds",
    answer: allows("OPTIONS,GET,HEAD,POST"),
    differs: "404 `PGRST202`: it looks for the function with the arguments of the query.",
  },
  {
    subject: "a browser's question before it asks",
    request: "OPTIONS /keyed",
    headers: {
      Origin: "https://app.example",
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "Foo,Bar",
    },
    answer: {
      status: 200,
      body: "",
      headers: {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD",
        "access-control-allow-headers": "Authorization, Foo, Bar, Accept, Accept-Language, Content-Language",
        "access-control-max-age": "86400",
      },
    },
  },
  {
    subject: "OPTIONS with an origin and nothing more is no such question",
    request: "OPTIONS /keyed_count",
    headers: { Origin: "https://app.example" },
    answer: allows("OPTIONS,GET,HEAD"),
  },
  {
    subject: "OPTIONS of who asks as a browser does, but from no origin, is none either",
    request: "OPTIONS /keyed_count",
    headers: { "Access-Control-Request-Method": "POST" },
    answer: allows("OPTIONS,GET,HEAD"),
  },
  {
    subject: "an answer to a browser",
    request: "GET /rpc/whoami",
    headers: { Origin: "https://app.example" },
    answer: {
      status: 200,
      headers: {
        "access-control-allow-origin": "*",
        "access-control-expose-headers":
          "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, Range-Unit",
      },
    },
  },
];

const conflicts: Manner[] = [
  ...["40001", "40P01"].map((code): Manner => ({
    subject: `a transaction that Postgres gives up twice (${code}) runs a third time`,
    request: "POST /rpc/in_conflict",
    body: `{"p_code":"${code}","p_times":2}`,
    answer: { status: 200, body: "3" },
  })),
  {
    subject: "a transaction that fails otherwise (40003) runs once",
    request: "POST /rpc/in_conflict",
    body: '{"p_code":"40003","p_times":1}',
    answer: { status: 500, code: "40003", headers: { "proxy-status": "PostgREST; error=40003" } },
  },
  {
    subject: "a function that raises 40001 each time",
    request: "POST /rpc/in_conflict",
    body: '{"p_code":"40001","p_times":9000000000000000000}',
    answer: { status: 500, code: "40001" },
    differs:
      "It never answers: it runs the transaction again without limit or pause, also when the caller has gone. Here 20 runs are the most, so that one function can't keep a connection for ever.",
  },
];

/** What is settled before a table or a function is looked at: tokens, roles, schemas, paths, methods, CORS. */
export const gatewayManners: Manner[] = [tokens, roles, paths, options, conflicts].flat();
