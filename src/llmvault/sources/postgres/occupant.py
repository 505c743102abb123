"""The question whether a database is empty, for targets that must be."""

# what an extension brought along does not count: it may have been created by a superuser beforehand
OCCUPANT = r"""
WITH brought AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
     users AS (SELECT oid, nspname FROM pg_namespace
               WHERE nspname <> 'information_schema' AND nspname !~ '^pg_')
SELECT 'schema ' || nspname FROM users WHERE nspname <> 'public'
UNION ALL
SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN users ON users.oid = c.relnamespace
WHERE ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM brought)
UNION ALL
SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN users ON users.oid = p.pronamespace
WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM brought)
UNION ALL
SELECT 'large object ' || oid FROM pg_largeobject_metadata
LIMIT 1
"""
