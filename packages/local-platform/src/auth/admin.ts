import { randomUUID } from "node:crypto";
import bcrypt from "bcryptjs";
import type pg from "pg";
import { authError } from "./error.ts";
import { json } from "../gateway/http.ts";
import { isDatabaseError } from "../rest/errors.ts";

/** A user as the admin's part of the auth API takes one. */
interface Attributes {
  id?: string;
  email?: string;
  password?: string;
  email_confirm?: boolean;
  app_metadata?: Record<string, unknown>;
  user_metadata?: Record<string, unknown>;
}

const CHECKS: Record<keyof Attributes, (value: unknown) => boolean> = {
  id: (value) => typeof value === "string" && UUID.test(value),
  email: (value) => typeof value === "string" && /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value),
  password: (value) => typeof value === "string",
  email_confirm: (value) => typeof value === "boolean",
  app_metadata: isObject,
  user_metadata: isObject,
};

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Rounds of bcrypt, as a power of two. The hosted server takes ten; these users are made up, tests
 * make hundreds of them, and each round of more would stop the whole API for that long.
 */
const BCRYPT_COST = 4;

/**
 * Answers /auth/v1/admin/users, which @supabase/lite doesn't have: create, list, read, update, delete.
 * The caller is known to be `service_role`.
 *
 * Served: id, email, password, email_confirm, app_metadata, user_metadata. Anything else (phone,
 * ban_duration, role, …) is refused by name: ignored, it would seem to work here and act elsewhere.
 */
export async function answerAdmin(
  request: Request,
  path: string,
  body: string,
  pool: pg.Pool,
): Promise<Response> {
  const [, , collection, id, ...rest] = path.split("/");
  if (collection !== "users" || rest.length > 0) {
    return authError(404, "not_found", `${path} is not served by the local API`);
  }
  if (id !== undefined && !UUID.test(id)) {
    return authError(404, "validation_failed", "user_id must be an UUID");
  }
  try {
    switch (`${request.method} ${id === undefined ? "users" : "user"}`) {
      case "GET users":
        return await listUsers(new URL(request.url).searchParams, pool);
      case "POST users":
        return await withAttributes(body, (attributes) => createUser(attributes, pool));
      case "GET user":
        return answerUser(await readUser(id!, pool));
      case "PUT user":
        return await withAttributes(body, (attributes) => updateUser(id!, attributes, pool));
      case "DELETE user":
        return await deleteUser(id!, body, pool);
      default:
        return new Response(null, { status: 405 });
    }
  } catch (error) {
    if (!isDatabaseError(error)) throw error;
    if (error.code === "23505") return emailExists();
    if (error.code.startsWith("22")) {
      return authError(400, "validation_failed", "A value can't be stored by Postgres");
    }
    return authError(500, "unexpected_failure", "Database error saving user");
  }
}

async function createUser(attributes: Attributes, pool: pg.Pool): Promise<Response> {
  const { id = randomUUID(), email, password } = attributes;
  if (email === undefined) {
    return authError(400, "validation_failed", "Cannot create a user without either an email or phone");
  }
  await pool.query(
    `with made as (
       insert into auth.users (id, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
       values ($1, $2, $3, case when $4 then now() end, $5::text::jsonb, $6::text::jsonb)
       returning id, email)
     insert into auth.identities (id, provider, provider_id, user_id, identity_data)
     select gen_random_uuid(), 'email', id::text, id, jsonb_build_object('sub', id, 'email', email) from made`,
    [
      id,
      email.toLowerCase(),
      password === undefined ? null : await bcrypt.hash(password, BCRYPT_COST),
      attributes.email_confirm ?? false,
      JSON.stringify({ provider: "email", providers: ["email"], ...attributes.app_metadata }),
      JSON.stringify(attributes.user_metadata ?? {}),
    ],
  );
  return answerUser(await readUser(id, pool));
}

async function updateUser(id: string, attributes: Attributes, pool: pg.Pool): Promise<Response> {
  if (attributes.id !== undefined && attributes.id !== id) {
    return authError(400, "validation_failed", "id can't be changed");
  }
  const known = await readUser(id, pool);
  if (known === undefined) return answerUser(known);
  const { email, password } = attributes;
  await pool.query(
    `with changed as (
       update auth.users set
         email = coalesce($2, email),
         encrypted_password = coalesce($3, encrypted_password),
         email_confirmed_at = case when $4 then coalesce(email_confirmed_at, now()) else email_confirmed_at end,
         raw_app_meta_data = $5::text::jsonb,
         raw_user_meta_data = $6::text::jsonb,
         updated_at = now()
       where id = $1 returning id, email)
     update auth.identities i
        set identity_data = i.identity_data || jsonb_build_object('email', changed.email), updated_at = now()
       from changed where i.user_id = changed.id and i.provider = 'email'`,
    [
      id,
      email?.toLowerCase() ?? null,
      password === undefined ? null : await bcrypt.hash(password, BCRYPT_COST),
      attributes.email_confirm ?? false,
      JSON.stringify(merge(known.raw_app_meta_data, attributes.app_metadata)),
      JSON.stringify(merge(known.raw_user_meta_data, attributes.user_metadata)),
    ],
  );
  return answerUser(await readUser(id, pool));
}

async function deleteUser(id: string, body: string, pool: pg.Pool): Promise<Response> {
  if (/"should_soft_delete"\s*:\s*true/.test(body)) {
    return authError(400, "validation_failed", "Soft deletion is not served by the local API");
  }
  const { rowCount } = await pool.query("delete from auth.users where id = $1", [id]);
  return rowCount === 0 ? answerUser(undefined) : json({});
}

async function listUsers(query: URLSearchParams, pool: pg.Pool): Promise<Response> {
  const page = Math.max(1, Number(query.get("page")) || 1);
  const perPage = Math.min(1000, Math.max(1, Number(query.get("per_page")) || 50));
  const { rows } = await pool.query<UserRow>(
    `${SELECT_USER} order by u.created_at desc, u.id limit $1 offset $2`,
    [perPage, (page - 1) * perPage],
  );
  const total = await pool.query<{ count: number }>("select count(*)::int as count from auth.users");
  const { count } = total.rows[0]!;
  const last = Math.max(1, Math.ceil(count / perPage));
  const link = (to: number, rel: string) => `</admin/users?page=${to}&per_page=${perPage}>; rel="${rel}"`;
  const links = page < last ? [link(page + 1, "next"), link(last, "last")] : [link(last, "last")];
  return json({ users: rows.map(userOf), aud: "authenticated" }, 200, {
    "x-total-count": String(count),
    link: links.join(", "),
  });
}

interface UserRow {
  id: string;
  raw_app_meta_data: Record<string, unknown>;
  raw_user_meta_data: Record<string, unknown>;
  [column: string]: unknown;
}

/** Dates come as the API writes them: Postgres' own JSON form. */
const SELECT_USER = `
  select u.id, u.aud, u.role, u.email, coalesce(u.phone, '') as phone, to_json(u.email_confirmed_at) as email_confirmed_at,
         to_json(u.last_sign_in_at) as last_sign_in_at, to_json(u.created_at) as created_at,
         to_json(u.updated_at) as updated_at, u.is_anonymous, u.raw_app_meta_data, u.raw_user_meta_data,
         coalesce((select json_agg(json_build_object('identity_id', i.id, 'id', i.provider_id, 'user_id', i.user_id,
             'identity_data', i.identity_data, 'provider', i.provider, 'created_at', i.created_at,
             'updated_at', i.updated_at, 'last_sign_in_at', i.last_sign_in_at))
           from auth.identities i where i.user_id = u.id), '[]') as identities
    from auth.users u`;

async function readUser(id: string, pool: pg.Pool): Promise<UserRow | undefined> {
  const { rows } = await pool.query<UserRow>(`${SELECT_USER} where u.id = $1`, [id]);
  return rows[0];
}

function userOf({ raw_app_meta_data, raw_user_meta_data, ...user }: UserRow): unknown {
  return { ...user, app_metadata: raw_app_meta_data, user_metadata: raw_user_meta_data };
}

function answerUser(row: UserRow | undefined): Response {
  return row === undefined ? authError(404, "user_not_found", "User not found") : json(userOf(row));
}

async function withAttributes(
  body: string,
  act: (attributes: Attributes) => Promise<Response>,
): Promise<Response> {
  let attributes: unknown;
  try {
    attributes = JSON.parse(body);
  } catch {
    attributes = undefined;
  }
  if (!isObject(attributes)) return authError(400, "bad_json", "Could not parse request body as JSON");
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined && value !== null);
  for (const [name, value] of given) {
    const check = (CHECKS as Record<string, ((value: unknown) => boolean) | undefined>)[name];
    if (check === undefined) {
      return authError(400, "validation_failed", `${name} is not served by the local API`);
    }
    if (!check(value)) return authError(400, "validation_failed", `${name} is not valid`);
  }
  const usable = Object.fromEntries(given) as Attributes;
  if (usable.password !== undefined && usable.password.length < 6) {
    return authError(422, "weak_password", "Password should be at least 6 characters.");
  }
  return await act(usable);
}

/** Top-level keys replace; null removes. */
function merge(
  known: Record<string, unknown>,
  change: Record<string, unknown> = {},
): Record<string, unknown> {
  const merged = Object.entries({ ...known, ...change });
  return Object.fromEntries(merged.filter(([, value]) => value !== null));
}

function emailExists(): Response {
  return authError(422, "email_exists", "A user with this email address has already been registered");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
