/** The people of supabase/seed.sql, for the screen that `npm start` shows. Local use only. */
export const demo = {
  /** Everybody's. */
  password: "tokenbook-demo",
  spender: "alice@example.com",
  administrator: "admin@example.com",
  emails: ["alice@example.com", "bob@example.com", "admin@example.com"],
} as const;
