import { createDatabase, type Database } from "../support/database.ts";

/** Books whose time a test can step: everything of a user moves that far into the past. */
export async function booksWithAClock(): Promise<Database> {
  const books = await createDatabase();
  await books.admin.query(`
    alter table public.token_transactions disable trigger token_transactions_keep_append_only;
    create function public.test_step(p_user_id uuid, p_seconds integer) returns void language plpgsql as $$
    declare
      v_by interval := p_seconds * interval '1 second';
    begin
      -- the account first, as everyone does: the sweeper of another lane may be at it
      update public.token_accounts
         set next_due_at = next_due_at - v_by, updated_at = updated_at - v_by
       where user_id = p_user_id;
      update public.token_balances
         set granted_at = granted_at - v_by, expires_at = expires_at - v_by,
             created_at = created_at - v_by, voided_at = voided_at - v_by
       where user_id = p_user_id;
      update public.token_holds
         set expires_at = expires_at - v_by, created_at = created_at - v_by, settled_at = settled_at - v_by
       where user_id = p_user_id;
      update public.token_transactions set created_at = created_at - v_by where user_id = p_user_id;
      update public.token_usage set created_at = created_at - v_by where user_id = p_user_id;
    end
    $$`);
  return books;
}
