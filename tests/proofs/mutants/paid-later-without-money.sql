-- What a period gave before it was paid for is nobodys.
select pg_temp.mutate('paid-later-is-money', '');
