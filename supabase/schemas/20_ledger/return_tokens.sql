/*
 * Puts tokens back into the grants that they came from: what a release, a refund and a won dispute
 * are made of. A grant that has run out takes them too and is then due at once; the caller books
 * that. What no longer fits (something else has filled the grant meanwhile) becomes a grant of its
 * own with the same terms: nothing is lost, and no grant ever has more than it was granted.
 * The plan limit is lifted to the balance. The caller holds the lock, and records the entry afterwards.
 * Caller: internal.   Returns where the tokens went.   Keeps: I1, I4, I9.
 */
create function tokenbook.return_tokens(
  p_user_id uuid,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_now timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_part record;
  v_id uuid;
  v_due_at timestamptz;
begin
  -- as a rule it is one grant, and has room
  if cardinality(p_grant_ids) = 1 then
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + p_grant_tokens[1], is_open = true
     where b.user_id = p_user_id and b.id = p_grant_ids[1]
       and b.tokens_remaining + p_grant_tokens[1] <= b.tokens_granted
    returning case when b.tokens_remaining = p_grant_tokens[1] then b.expires_at end into v_due_at; -- it was used up
    if found then
      grant_ids := p_grant_ids;
      grant_tokens := p_grant_tokens;
      if v_due_at is not null then
        perform tokenbook.bring_due_forward(p_user_id, v_due_at);
      end if;
      return;
    end if;
  end if;

  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    select b.id, b.expires_at, b.is_open, p.tokens, b.tokens_granted - b.tokens_remaining as room
      from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     order by p.nth
  loop
    if v_part.room > 0 then
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining + least(v_part.tokens, v_part.room), is_open = true
       where b.user_id = p_user_id and b.id = v_part.id;
      grant_ids := grant_ids || v_part.id;
      grant_tokens := grant_tokens || least(v_part.tokens, v_part.room);
    end if;
    if v_part.tokens > v_part.room then
      insert into public.token_balances
        (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, pays_for, cost_basis_of, metadata, created_at)
      select b.user_id, b.grant_type, v_part.tokens - v_part.room, v_part.tokens - v_part.room,
             b.priority, b.granted_at, b.expires_at, b.pays_for, tokenbook.money_of(row(b.*)::public.token_balances), jsonb_build_object('given_back_for', b.id), p_now
        from public.token_balances b
       where b.user_id = p_user_id and b.id = v_part.id
      returning id into v_id;
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || (v_part.tokens - v_part.room);
    end if;
    if not v_part.is_open then
      v_due_at := least(v_due_at, v_part.expires_at);
    end if;
  end loop;
  if v_due_at is not null then
    perform tokenbook.bring_due_forward(p_user_id, v_due_at);
  end if;
end
$$;
comment on function tokenbook.return_tokens is
  'Puts tokens back into the grants that they came from; what does not fit becomes a grant with the same terms. Returns where they went.';
