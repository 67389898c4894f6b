-- A slot has the id of another that was at its place before the past was moved.
select pg_temp.mutate('moved-slots-are-others', '->> ''id''', '->> ''none''');
