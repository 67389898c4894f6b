-- A repeated call looks in token_usage alone.
select pg_temp.mutate('archived-receipts-answer', 'archived_usage_receipts r', 'archived_usage_receipts r join tokenbook.usage_archives n on false');
