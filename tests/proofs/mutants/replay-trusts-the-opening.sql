-- Old grants begin with what the opening balance says, which is what is to be checked.
select pg_temp.mutate('tokenbook.replay', 'b.created_at <= o.created_at
        left join opened', 'b.created_at <= o.created_at and b.legacy_transaction_id is null
        left join opened');
