-- A plan that was cancelled before its payment was told has ended, and nobody is told.
select pg_temp.mutate('over-before-it-began', '');
