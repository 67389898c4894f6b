-- A move is taken back after apps were told where the books are.
select pg_temp.mutate('let-go-is-final', '''moved''', '''nothing''');
