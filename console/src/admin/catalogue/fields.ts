/** What can be said of each thing of the catalogue, as its dialog asks for it: names are the columns'. */

import type { Field } from "../draft.ts";

const choices = (labels: Record<string, string>) =>
  Object.entries(labels).map(([value, label]) => ({ value, label }));

const sold: Field[] = [
  { name: "price_cents", label: "Price", kind: "money" },
  { name: "currency", label: "Currency", hint: "Three letters, as eur or usd.", kind: "words" },
];
const isOffered: Field = { name: "is_offered", label: "Can be bought", kind: "yes" };
const stripePrice: Field = {
  name: "stripe_price_id",
  label: "Price at Stripe",
  hint: "Empty: it is asked for, and waits for an admin.",
  kind: "words",
  isOptional: true,
};

export const planFields: Field[] = [
  { name: "name", label: "Name", kind: "words" },
  {
    name: "tokens",
    label: "Tokens",
    hint: "That a period gives; where it gives them in parts, each part.",
    kind: "count",
  },
  ...sold,
  {
    name: "billing_cycle",
    label: "Period",
    kind: "choice",
    choices: choices({ none: "Does not end", "28day": "28 days", monthly: "A month", annual: "A year" }),
  },
  {
    name: "grant_lifetime_days",
    label: "Tokens live, days",
    hint: "Empty: for ever.",
    kind: "count",
    isOptional: true,
  },
  {
    name: "rank",
    label: "Rank",
    hint: "Up to a higher one at once, down at the period’s end.",
    kind: "count",
  },
  stripePrice,
  isOffered,
  { name: "is_default", label: "New users get it", hint: "Who signs up from now on.", kind: "yes" },
  {
    name: "grant_type",
    label: "Type of its grants",
    kind: "choice",
    choices: choices({ plan: "Plan", trial: "Trial", annual: "Annual", "28day": "28 days" }),
    isRare: true,
  },
  {
    name: "issue_every",
    label: "Gives its tokens",
    kind: "choice",
    choices: choices({ day: "Every day", week: "Every week", month: "Every month" }),
    hint: "Empty: all of a period at once.",
    isOptional: true,
    isRare: true,
  },
  {
    name: "issue_on",
    label: "Parts begin",
    kind: "choice",
    choices: choices({ anniversary: "As the period did", calendar: "With the calendar" }),
    isRare: true,
  },
  {
    name: "refill_to",
    label: "A part fills up to",
    hint: "Empty: each adds to the balance.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "balance_cap",
    label: "A renewal fills up to",
    hint: "Empty: no cap.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "rollover_tokens",
    label: "Carried over, at most",
    hint: "Tokens. Both empty: none.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "rollover_percent",
    label: "Carried over, percent",
    hint: "Of what the period gave.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "rollover_lifetime_days",
    label: "Carried over, for days",
    hint: "Empty: for ever.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "grace_days",
    label: "Grace, days",
    hint: "Empty: 3 where it costs something.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  {
    name: "overdraft_tokens",
    label: "May owe, tokens",
    hint: "Empty: nothing.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  { name: "storage_gb", label: "Storage, GB", kind: "count", isRare: true },
  {
    name: "articles_limit",
    label: "Articles a period",
    hint: "Empty: no limit.",
    kind: "count",
    isOptional: true,
    isRare: true,
  },
  { name: "paypal_plan_id", label: "Plan at PayPal", kind: "words", isOptional: true, isRare: true },
];

export const packFields: Field[] = [
  { name: "name", label: "Name", kind: "words" },
  { name: "tokens", label: "Tokens", hint: "That one of it gives.", kind: "count" },
  ...sold,
  {
    name: "lifetime_days",
    label: "Tokens live, days",
    hint: "Empty: for ever.",
    kind: "count",
    isOptional: true,
  },
  { name: "priority", label: "Priority", hint: "0 is spent first, 100 last.", kind: "count" },
  stripePrice,
  isOffered,
];

export const rateFields: Field[] = [
  { name: "tokens_per_input", label: "An input token costs", kind: "number" },
  { name: "tokens_per_output", label: "An output token costs", kind: "number" },
  {
    name: "tokens_per_cached",
    label: "A cached one costs",
    hint: "Empty: as other input.",
    kind: "number",
    isOptional: true,
  },
  {
    name: "tokens_per_reasoning",
    label: "One of reasoning costs",
    hint: "Empty: as other output.",
    kind: "number",
    isOptional: true,
  },
  { name: "tokens_per_image", label: "An image costs", kind: "number" },
  { name: "tokens_per_second", label: "A second of audio costs", kind: "number" },
  { name: "markup_percent", label: "Markup, percent", hint: "Added to the sum of these.", kind: "number" },
];

const dollars = { kind: "dollars", hint: "In dollars.", isOptional: true } as const;

export const priceFields: Field[] = [
  { name: "input_cents_per_million", label: "A million input tokens", ...dollars },
  { name: "output_cents_per_million", label: "A million output tokens", ...dollars },
  {
    name: "cached_input_cents_per_million",
    label: "A million cached ones",
    ...dollars,
    hint: "In dollars. Empty: as other input.",
  },
  { name: "cents_per_image", label: "An image", ...dollars },
  { name: "cents_per_minute", label: "A minute of audio", ...dollars },
];

export const costFields: Field[] = [
  { name: "min_tokens", label: "At least", hint: "A fixed price has both the same.", kind: "count" },
  { name: "max_tokens", label: "At most", kind: "count" },
];

export const codeFields: Field[] = [
  { name: "name", label: "What it is for", hint: "Users do not see it.", kind: "words" },
  { name: "tokens", label: "Tokens", hint: "For each time it is redeemed.", kind: "count" },
  { name: "max_redemptions", label: "How often, in all", kind: "count" },
  { name: "max_per_user", label: "How often by one user", kind: "count" },
  {
    name: "valid_until",
    label: "Until",
    hint: "Midnight UTC. Empty: no end.",
    kind: "date",
    isOptional: true,
  },
  {
    name: "lifetime_days",
    label: "Tokens live, days",
    hint: "Empty: as its type has it.",
    kind: "count",
    isOptional: true,
  },
  {
    name: "grant_type",
    label: "Type of its grants",
    kind: "choice",
    choices: choices({ bonus: "Bonus", purchase: "Purchase" }),
  },
  {
    name: "code",
    label: "The code",
    hint: "Empty: one that nobody guesses.",
    kind: "words",
    isOptional: true,
  },
];
