/*
 * What the audit trail says of a user, a row each, beside what the ledger has of it: the one side of a
 * reconciliation. Reads the tables alone.
 *
 * `tokens` is what the balance should have moved by: an operation that succeeded less what was uncovered,
 * negative; a failed one 0; an admin's grant positive, his deduction negative.
 * `transaction_id` is its ledger entry, or the first of them: the entry that names the row, else the one that the row names; an
 * entry belongs to one row.
 * A row is a copy (`copy_of`) when another stands for the same ledger entry; when it has none and another
 * equals it in everything but the id, within the same second; or, with an entry or without, when another
 * that used as much has the same metadata.request_id. Two equal operations in one second, each deducted,
 * are two operations: only their request can tell that they were one.
 * Caller: internal.
 */
create function tokenbook.audit_trail(p_user_id uuid)
returns table (
  usage_id uuid, transaction_id bigint, action_type text, tokens bigint, cost numeric,
  is_operation boolean, success boolean, copy_of uuid, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a user with a hundred thousand rows is joined with himself
as $$
begin
  return query
  with charges as (
    -- a capture beyond its hold books two entries for one operation, a refund names it too
    select t.usage_id, min(t.id) as id
      from public.token_transactions t
     where t.user_id = p_user_id and t.usage_id is not null and t.entry_type in ('deduction', 'usage', 'grant')
     group by t.usage_id
  ), linked as (
    select u.*, coalesce(named.id, naming.id) as entry, named.id is not null as is_named,
           coalesce(u.metadata ->> 'request_id', u.metadata ->> 'requestId') as request
      from public.token_usage u
      left join charges named on named.usage_id = u.id
      left join public.token_transactions naming on naming.user_id = u.user_id and naming.id = u.transaction_id
       and naming.entry_type in ('deduction', 'usage', 'grant')
     where u.user_id = p_user_id
  ), compared as (
    select l.*,
           case when l.entry is not null then
             first_value(l.id) over (partition by l.entry order by l.is_named desc, l.created_at, l.id) end as first_of_entry,
           first_value(l.id) over (
             partition by l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens,
                          l.cost_estimate, l.success, l.error_message, l.request, date_trunc('second', l.created_at)
             order by l.entry is null, l.created_at, l.id) as first_of_equals,
           case when l.request is not null and l.success and l.action_type not in ('admin_grant', 'admin_deduct') then
             first_value(l.id) over (
               partition by l.request, l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens, l.success
               order by l.entry is null, l.created_at, l.id) end as first_of_request
      from linked l
  )
  select c.id,
         case when c.first_of_entry = c.id then c.entry end,
         c.action_type,
         case
           when c.action_type = any (tokenbook.recorded_grant_actions()) then abs(c.tokens_used)
           when not c.success then 0 -- @failed-moved-nothing
           else -(abs(c.tokens_used) - c.tokens_uncovered) -- @uncovered-not-deducted
         end,
         -- a second row for the same entry, or for none, costs nothing more
         case
           when not c.success then 0
           when c.copied is not null and c.first_of_entry is distinct from c.id then 0
           else coalesce(c.cost_estimate, 0)
         end,
         c.action_type <> all (tokenbook.recorded_grant_actions() || 'admin_deduct'::text),
         c.success, c.copied, c.created_at
    from (
      select x.*,
             case
               when x.tokens_used = 0 then null
               when x.first_of_entry <> x.id then x.first_of_entry
               when x.entry is null and x.first_of_equals <> x.id then x.first_of_equals
               when x.first_of_request <> x.id then x.first_of_request
             end as copied
        from compared x) c;
end
$$;
comment on function tokenbook.audit_trail is
  'The rows of token_usage of a user: what each should have moved the balance by, its ledger entry if it has one, and whether it is a copy of another.';
