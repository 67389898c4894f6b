/** The people of supabase/seed.sql, for the screen that `npm start` shows. Local use only. */
export const demo = {
  /** Everybody's. */
  password: "tokenbook-demo",
  spender: "alice@example.com",
  administrator: "admin@example.com",
  emails: [
    "alice@example.com",
    "bob@example.com",
    "carol@example.com",
    "dave@example.com",
    "erin@example.com",
    "frank@example.com",
    "grace@example.com",
    "heidi@example.com",
    "ivy@example.com",
    "admin@example.com",
  ],
} as const;
