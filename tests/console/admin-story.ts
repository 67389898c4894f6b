/** Who and what an admin finds: users of every kind, one with a month behind them, one whose books are wrong. */
import type { Trial, Person } from "./page.ts";

/** An admin: made one before they sign in, so that their token says so. */
export async function adminOf(trial: Trial, email = `${crypto.randomUUID()}@example.com`): Promise<Person> {
  const admin = await trial.person(email);
  await trial.stack.db.admin.query("insert into tokenbook.admins (user_id) values ($1)", [admin.id]);
  await trial.stack.db.admin.query(
    `update auth.users set raw_app_meta_data = raw_app_meta_data || '{"role": "admin"}' where id = $1`,
    [admin.id],
  );
  return admin;
}

/** Somebody with 9,700 tokens, and a use that was written down and never paid. */
export async function withUnpaidUse(trial: Trial, tokens: number): Promise<Person> {
  const person = await trial.person();
  await trial.serve("track_token_usage", {
    p_user_id: person.id,
    p_action_type: "chat_conversation",
    p_model_used: "gpt-4",
    p_tokens_used: 300,
  });
  await trial.stack.db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, success, created_at)
     values ($1, 'chat_conversation', 'gpt-4', $2, true, clock_timestamp())`,
    [person.id, tokens],
  );
  return person;
}

const names = [
  "ada",
  "boris",
  "chen",
  "dalia",
  "emeka",
  "farah",
  "gustav",
  "hana",
  "ilse",
  "jorge",
  "kofi",
  "lena",
];

export interface Story {
  /** With a month of use, grants of many kinds, payments, a hold. */
  mira: Person;
  /** Whose balance is more than the records say. */
  broken: Person;
  others: Person[];
}

export async function manyUsers(trial: Trial): Promise<Story> {
  const { db } = trial.stack;
  await db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents) values ('pack_500k', 'Half a million', 500000, 900)
     on conflict do nothing`,
  );
  const others: Person[] = [];
  for (const [n, name] of names.entries()) {
    const person = await trial.person(`${name}@example.com`);
    others.push(person);
    await trial.serve("grant_tokens", { p_user_id: person.id, p_tokens: 20_000 * (n + 1) });
    if (n % 3 === 0) continue;
    const used = { p_action_type: "chat_conversation", p_model_used: "gpt-4", p_tokens_used: 1_700 * n };
    await trial.serve("track_token_usage", { p_user_id: person.id, ...used });
  }
  const mira = await trial.person("mira@example.com");
  await db.admin.query("insert into tokenbook.test_users (user_id) values ($1)", [mira.id]);
  await trial.serve("grant_tokens", { p_user_id: mira.id, p_tokens: 500_000, p_grant_type: "purchase" });
  const models = ["gpt-4", "gpt-4", "claude-sonnet-4", "gpt-4o-mini"];
  for (let day = 0; day < 20; day++) {
    for (let n = 0; n < (day % 7 > 4 ? 1 : 2); n++) {
      await trial.serve("track_token_usage", {
        p_user_id: mira.id,
        p_action_type: ["chat_conversation", "blueprint_generation", "image_generation"][(day + n) % 3],
        p_model_used: models[(day * 3 + n) % models.length],
        p_tokens_used: 900 + ((day * 577 + n * 1_301) % 4_200) + day * 60,
      });
    }
    // sold to her by hand, and its money earned as she uses it
    if (day === 8) {
      const sale = { p_cost_basis_cents: 1_900, p_currency: "usd", p_priority: 10 };
      await trial.serve("grant_tokens", {
        p_user_id: mira.id,
        p_tokens: 100_000,
        p_grant_type: "purchase",
        ...sale,
      });
    }
    await db.admin.query("select tokenbook.advance_test_clock($1, '1 day')", [mira.id]);
  }
  await trial.serve("grant_tokens", {
    p_user_id: mira.id,
    p_tokens: 50_000,
    p_grant_type: "trial",
    p_reason: "sorry for Tuesday",
  });
  await trial.serve("reserve_tokens", {
    p_user_id: mira.id,
    p_tokens: 4_000,
    p_action_type: "chat_conversation",
  });
  await trial.serve("create_token_payment", { p_user_id: mira.id, p_pack_type: "pack_500k", p_quantity: 2 });
  await trial.serve("create_token_payment", { p_user_id: others[1]!.id, p_pack_type: "pack_500k" });
  await trial.serve("set_token_account_state", {
    p_user_id: others[4]!.id,
    p_state: "frozen",
    p_reason: "chargeback",
  });
  const broken = await trial.person("noor@example.com");
  await trial.serve("grant_tokens", { p_user_id: broken.id, p_tokens: 60_000 });
  for (const tokens of [2_000, 5_500]) {
    await trial.serve("track_token_usage", {
      p_user_id: broken.id,
      p_action_type: "chat_conversation",
      p_model_used: "gpt-4",
      p_tokens_used: tokens,
    });
  }
  // a use that was written down by hand, and never paid
  await db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, success, created_at)
     values ($1, 'chat_conversation', 'gpt-4', 12500, true, clock_timestamp())`,
    [broken.id],
  );
  return { mira, broken, others };
}
