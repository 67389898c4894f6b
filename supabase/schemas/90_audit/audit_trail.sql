/*
 * What the audit trail says of a user, a row each, beside what the ledger has of it: the one side of a
 * reconciliation. Reads the tables alone.
 *
 * `tokens` is what the balance should have moved by: an operation that succeeded less what was uncovered,
 * negative; a failed one 0; an admin's grant positive, their deduction negative. What the books have an entry for is
 * a grant if the entry is one, whatever the row calls itself: an operation's name is its caller's word. Only a row
 * that has none, from before the books opened, is what it is called.
 * `transaction_id` is its ledger entry, or the first of them: the entry that names the row, else the one that the row names; an
 * entry belongs to one row.
 * A row is a copy (`copy_of`) when another stands for the same ledger entry, or when it has none and another
 * equals it: in everything but the id, within the same second, or in what it used and its metadata.request_id.
 * An entry of its own makes it an operation of its own. Where the server booked two that name the same request,
 * both without an idempotency key, it may have sent one twice (`same_request_as`). That is to be looked at, and
 * proves nothing: metadata are the caller's words too.
 * Caller: internal.
 */
create function tokenbook.audit_trail(p_user_id uuid)
returns table (
  usage_id uuid, transaction_id bigint, action_type text, tokens bigint, cost numeric,
  is_operation boolean, success boolean, copy_of uuid, same_request_as uuid, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a user's hundred thousand rows are joined with themselves
as $$
begin
  return query
  with charges as (
    -- a capture beyond its hold books two entries for one operation, a refund names it too
    select t.usage_id, min(t.id) as id, bool_or(t.entry_type = 'grant') as is_grant,
           bool_and(t.actor_role = 'service' and t.idempotency_key is null) as is_unkeyed -- @only-unkeyed-resends
      from public.token_transactions t
     where t.user_id = p_user_id and t.usage_id is not null and t.entry_type in ('deduction', 'usage', 'grant')
     group by t.usage_id
  ), linked as materialized (
    select u.id, u.action_type, u.model_used, u.tokens_used, u.tokens_uncovered, u.input_tokens, u.output_tokens,
           u.cost_estimate, u.success, u.error_message, u.member_id, u.created_at,
           u.success and u.action_type not in ('admin_grant', 'admin_deduct') as is_request,
           coalesce(named.id, naming.id) as entry, named.id is not null as is_named,
           coalesce(
             named.is_grant, naming.entry_type = 'grant', -- @grants-by-their-entry
             u.action_type = any (tokenbook.recorded_grant_actions())) as is_grant,
           coalesce(named.is_unkeyed, naming.actor_role = 'service' and naming.idempotency_key is null, false) as is_unkeyed,
           coalesce(u.metadata ->> 'request_id', u.metadata ->> 'requestId') as request
      from public.token_usage u
      left join charges named on named.usage_id = u.id
      left join public.token_transactions naming on naming.user_id = p_user_id and naming.id = u.transaction_id
       and naming.entry_type in ('deduction', 'usage', 'grant')
     where u.user_id = p_user_id
  ), loose as (
    -- what may be a copy: mostly there is none, and nothing has to be sorted for it
    select l.action_type, l.tokens_used, date_trunc('second', l.created_at) as second, l.request
      from linked l
     where l.entry is null and l.tokens_used <> 0
  ), equals as (
    select l.id,
           first_value(l.id) over (
             partition by l.action_type, l.model_used, l.tokens_used, l.tokens_uncovered, l.input_tokens, l.output_tokens,
                          l.cost_estimate, l.success, l.error_message, l.request, date_trunc('second', l.created_at)
             order by l.entry is null, l.created_at, l.id) as first
      from linked l
     where (l.action_type, l.tokens_used, date_trunc('second', l.created_at)) in (
       select o.action_type, o.tokens_used, o.second from loose o)
  ), requests as (
    select l.id,
           first_value(l.id) over (
             partition by l.request, l.action_type, l.model_used, l.tokens_used, l.tokens_uncovered, l.input_tokens, l.output_tokens
             order by l.entry is null, l.created_at, l.id) as first
      from linked l
     where l.is_request and l.request in (select o.request from loose o)
  ), sent as (
    select l.id,
           first_value(l.id) over (
             partition by l.request, l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens, l.member_id
             order by l.created_at, l.id) as first
      from linked l
     where l.is_request and l.is_unkeyed and l.request is not null
  ), compared as (
    select l.*,
           case when l.entry is not null then
             first_value(l.id) over (partition by l.entry order by l.is_named desc, l.created_at, l.id) end as first_of_entry,
           e.first as first_of_equals, r.first as first_of_request, s.first as first_sent
      from linked l
      left join equals e on e.id = l.id
      left join requests r on r.id = l.id
      left join sent s on s.id = l.id
  )
  select c.id,
         case when c.first_of_entry = c.id then c.entry end,
         c.action_type,
         case
           when c.is_grant then abs(c.tokens_used)
           when not c.success then 0 -- @failed-moved-nothing
           else -(abs(c.tokens_used) - c.tokens_uncovered) -- @uncovered-not-deducted
         end,
         -- a second row for the same entry, or for none, costs nothing more
         case
           when not c.success then 0
           when c.copied is not null then 0
           else coalesce(c.cost_estimate, 0)
         end,
         not c.is_grant and c.action_type <> 'admin_deduct',
         c.success, c.copied,
         case when c.copied is null and c.tokens_used <> 0 and c.first_sent <> c.id then c.first_sent end,
         c.created_at
    from (
      select x.*,
             case
               when x.tokens_used = 0 then null
               when x.first_of_entry <> x.id then x.first_of_entry
               when x.entry is null and x.first_of_equals <> x.id then x.first_of_equals
               when x.entry is null and x.first_of_request <> x.id then x.first_of_request
             end as copied
        from compared x) c;
end
$$;
comment on function tokenbook.audit_trail is
  'The rows of token_usage of a user: what each should have moved the balance by, its ledger entry if it has one, and whether it is a copy of another, or may be.';
