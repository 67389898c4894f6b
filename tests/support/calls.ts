/** Calls of every function of the catalogue, with arguments made from the names and types of its parameters. */
import type { Database } from "./database.ts";
import type { PopulatedUser } from "./populated-user.ts";

/** A function of schema public or tokenbook. */
export interface Callable {
  schema: "public" | "tokenbook";
  /** With its schema. */
  name: string;
  parameters: Parameter[];
}

export interface Parameter {
  name: string;
  /** As `format_type` writes it. */
  type: string;
  isRequired: boolean;
  /** Whether it takes all arguments that are left, as an array. */
  isVariadic: boolean;
  /** The columns, where the type is a row's. */
  columns: string[] | null;
}

/** Arguments by parameter; a row's are an object, by column. */
export type Arguments = Record<string, unknown>;

/** Every function of the two schemas, in the order of their names. */
export async function callablesOf(db: Database): Promise<Callable[]> {
  const { rows } = await db.admin.query<Callable>(`
    select n.nspname as schema, n.nspname || '.' || p.proname as name, coalesce(
             (select json_agg(json_build_object(
                       'name', a.name,
                       -- a row's with its schema, or a caller's own of that name would be meant
                       'type', case when t.typtype = 'c' then t.typnamespace::regnamespace || '.' || quote_ident(t.typname)
                                    else format_type(a.type, null) end,
                       'isRequired', a.nth <= p.pronargs - p.pronargdefaults,
                       'isVariadic', p.provariadic <> 0 and a.nth = p.pronargs,
                       'columns', (select json_agg(c.attname order by c.attnum) from pg_attribute c
                                    where c.attrelid = t.typrelid and c.attnum > 0 and not c.attisdropped)) order by a.nth)
                from unnest(p.proargtypes::oid[], p.proargnames[:p.pronargs]) with ordinality a (type, name, nth)
                join pg_type t on t.oid = a.type), '[]') as parameters
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('public', 'tokenbook')
       and (p.pronargs = 0 or p.proargnames is not null) -- else a computed field, which no rpc can call
     order by 2`);
  return rows;
}

/** What a function is called with to be about a user: what it requires, and the user. */
export function argumentsAbout(life: PopulatedUser, { parameters }: Callable): Arguments {
  const known = valuesOf(life);
  const args: Arguments = {};
  for (const { name, type, isRequired, columns } of parameters) {
    if (columns !== null) {
      args[name] = Object.fromEntries(
        columns
          .filter((column) => `p_${column}` in known && column !== "plan_type")
          .map((column) => [column, known[`p_${column}`]]),
      );
    } else if (isRequired || always.includes(name)) {
      args[name] = name in known ? known[name] : (byType[type] ?? null);
    }
  }
  return args;
}

/**
 * The same for a function of tokenbook that a wrapper in public calls: the wrapper's arguments, and
 * what the wrapper has for a default.
 */
export function argumentsBehind(life: PopulatedUser, inner: Callable, wrapper: Callable): Arguments {
  const outer = argumentsAbout(life, wrapper);
  const args = argumentsAbout(life, inner);
  for (const { name, columns } of inner.parameters) {
    if (columns === null) args[name] = outer[name] ?? defaults[name] ?? null;
  }
  return args;
}

/** The call as SQL. */
export function callOf({ name, parameters }: Callable, args: Arguments): { sql: string; values: unknown[] } {
  const values: unknown[] = [];
  const list = parameters
    .filter((parameter) => parameter.name in args)
    .map(({ name: parameter, type, columns, isVariadic }) => {
      const value = args[parameter];
      values.push(
        value !== null && (columns !== null || /^jsonb?$/.test(type)) ? JSON.stringify(value) : value,
      );
      const placed = `$${values.length}`;
      const cast =
        columns !== null ? `jsonb_populate_record(null::${type}, ${placed}::jsonb)` : `${placed}::${type}`;
      return `${isVariadic ? "variadic " : ""}${parameter} => ${cast}`;
    });
  return { sql: `select to_json(${name}(${list.join(", ")})) as value`, values };
}

/** What a parameter of that name is given. */
function valuesOf({ id, mark, member, things }: PopulatedUser): Arguments {
  const { p_idempotency_key: _usedUp, ...ids } = things;
  return {
    ...ids,
    p_user_id: id,
    p_member_id: member,
    p_user_ids: [id],
    p_action_type: "chat_conversation",
    p_below_tokens: 10,
    p_cooldown_seconds: 60,
    p_is_enabled: true,
    p_max_requests: 3,
    p_notify_recovered: false,
    p_window_seconds: 86_400,
    p_burn_order: "fifo",
    p_endpoint: "app",
    p_name: "app",
    p_url: `https://example.com/${mark}`,
    p_lines: ["tokenbook checkpoint 1 of everyone at 2026-01-01T00:00:00.000000Z"],
    p_customer_id: `cus_2_${mark}`,
    p_delta: 1,
    p_event_id: `evt-2-${mark}`,
    p_event_type: "paid",
    p_facts: { kind: "paid", occurred_at: "2026-11-01T00:00:00Z" },
    p_grant_type: "gift",
    p_expires_at: "2999-01-01T00:00:00Z",
    p_terms: { lifetime_hours: 24 },
    p_items: [{ user_id: id, tokens: 1 }],
    p_kind: "depleted",
    p_outcome: "failed",
    p_cost: { min_tokens: 1, max_tokens: 2 },
    p_model: `model-${mark}`,
    p_price: { input_cents_per_million: 1 },
    p_pack: { name: "A pack", tokens: 1, price_cents: 1 },
    p_pack_type: "pack",
    p_plan: { name: "Annual" },
    p_plan_type: "annual",
    p_policy: "refuse",
    p_provider: "stripe",
    p_provider_subscription_id: `sub-${mark}`,
    p_reason: "a reason",
    p_rule: "empty",
    p_state: "frozen",
    p_to_plan: "annual",
    p_tokens: 1,
    p_tokens_used: 1,
    p_tokens_to_deduct: 1,
    p_window: "day",
  };
}

/** Named even where they may be left out: whom it is about, and how much of something. */
const always = [
  "p_user_id",
  "p_action_type",
  "p_at",
  "p_below_tokens",
  "p_to_plan",
  "p_tokens",
  "p_tokens_used",
  "p_transaction_id",
];

/** What the wrappers' defaults come to. */
const defaults: Arguments = {
  p_all_or_nothing: false,
  p_below: 100,
  p_expired_policy: "forfeit",
  p_hours: 24,
  p_lease_seconds: 60,
  p_limit: 10,
  p_max_accounts: 10,
  p_on_shortage: "reject",
  p_over_capture: "reject",
  p_grant_type: "purchase",
  p_priority: 50,
  p_quantity: 1,
  p_action_type: "chat_conversation",
  p_take_back: false,
  p_threshold: 0,
  p_ttl_seconds: 60,
};

const byType: Record<string, unknown> = {
  bigint: 1,
  boolean: true,
  integer: 1,
  jsonb: {},
  numeric: 1,
  text: "text",
  "timestamp with time zone": "2026-01-01T00:00:00Z",
};
