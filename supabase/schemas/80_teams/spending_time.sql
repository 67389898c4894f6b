/*
 * When the tokens were taken that an entry spends or gives back: its own moment; of a release that
 * of the hold, or of its parent; of a refund that of the charge, or of the hold that the charge captured. What comes
 * back comes back into the window that it was taken from.
 * Caller: internal.
 */
create function tokenbook.spending_time(p_entry public.token_transactions)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_original public.token_transactions;
begin
  if p_entry.entry_type not in ('release', 'refund') then
    return p_entry.created_at;
  end if;
  select t.* into v_original from public.token_transactions t
   where t.user_id = p_entry.user_id and t.id = p_entry.original_id;
  if v_original.reserved_change < 0 then
    return (select tokenbook.set_aside_at(row(h.*)::public.token_holds) from public.token_holds h
             where h.user_id = p_entry.user_id and h.id = v_original.hold_id);
  end if;
  return v_original.created_at;
end
$$;
comment on function tokenbook.spending_time is
  'When the tokens were taken that an entry spends or gives back.';
