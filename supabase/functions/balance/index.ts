/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * GET /functions/v1/balance?userId=&limit=&before=
 *
 * What a user can spend, and a page of their transactions, newest first. For the user themself
 * (userId left out), an admin, or the server.
 * Answers { balance, history } as get_user_token_balance and get_token_history return them.
 *
 * With `Accept: text/csv` all of the user's transactions as a file, newest first, without limit and before.
 * An answer that breaks off is not whole: the connection is cut, not ended.
 */
import { z } from "zod";
import { endpoint } from "../_shared/endpoint.ts";
import { gate, userOrServer } from "../_shared/gate.ts";
import { integerText, smallIntegerText, uuid } from "../_shared/fields.ts";
import { operation } from "../_shared/operation.ts";
import { csvFile } from "./csv-file.ts";
import { type HistoryPage, ledgerCsv, pageSize } from "./ledger-csv.ts";
import { prefersCsv } from "./media-type.ts";

const Query = z.strictObject({
  userId: uuid.optional(),
  limit: smallIntegerText.optional(),
  before: integerText.optional(),
});

const balanceAndHistory = operation(
  { input: Query, admin: false },
  async ({ userId, limit, before }, sql) => {
    const [balance, history] = await Promise.all([
      sql("get_user_token_balance", { p_user_id: userId }),
      sql("get_token_history", { p_user_id: userId, p_limit: limit, p_before: before }),
    ]);
    return { balance, history };
  },
);

const wholeFile = z.never("left out for text/csv, which has every transaction").optional();

const ledger = operation(
  { input: Query.extend({ limit: wholeFile, before: wholeFile }), admin: false },
  async ({ userId }, sql, { userClaims }) =>
    await csvFile(
      ledgerCsv((before) =>
        sql<HistoryPage>("get_token_history", { p_user_id: userId, p_limit: pageSize, p_before: before }),
      ),
      `token-ledger-${userId ?? userClaims?.id}.csv`,
    ),
);

export default {
  fetch: endpoint({
    GET: gate(userOrServer, (request, context) =>
      prefersCsv(request) ? ledger(request, context) : balanceAndHistory(request, context),
    ),
  }),
};
