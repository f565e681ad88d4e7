-- Notices are entries of audit_log that the owner has not seen. What stands there already was before there were any.
INSERT INTO audit_log (at, event, dialect, detail)
    SELECT max(at), 'notice.seen', 'mesh', 'up to ' || max(id) FROM audit_log HAVING count(*) > 0;
