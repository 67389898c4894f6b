import type { Manner } from "./manner.ts";

/** What the cases of tables and functions need in the database; runs as `postgres`. */
export const restSql = "";

/** Tables and functions: filters, embedding, writes, calls. */
export const restManners: Manner[] = [];
