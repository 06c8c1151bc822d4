/* job_filter: the condition of struct job_filter (jobs.h) as SQL, for the statements of this room
 * that list jobs. The statement begins with JOB_FILTER_WITH, and reads jobs as j, job_texts as t and
 * sweeps as s. */
#ifndef TOKENFATE_JOB_FILTER_H
#define TOKENFATE_JOB_FILTER_H

/* Value of the term's field in a job. */
#define JOB_FIELD                                                                                  \
    " CASE field WHEN 'spec' THEN coalesce(json_extract(t.spec, term.path), fallback)"             \
    " WHEN 'user' THEN j.user WHEN 'state' THEN j.state WHEN 'device' THEN j.device"               \
    " WHEN 'sweep' THEN s.id WHEN 'loss' THEN j.loss WHEN 'priority' THEN j.priority"              \
    " WHEN 'epoch' THEN j.epoch WHEN 'attempt' THEN j.attempt END "
/* 1 if a job fits the term. A number that is asked for may be text in the spec (a corpus `123`). */
#define JOB_FITS                                                                                   \
    " CASE field"                                                                                  \
    " WHEN 'word' THEN instr((SELECT folded FROM job_search WHERE job = j.seq), folded_value) > 0" \
    " OR (length(value) >= 4 AND instr(j.id, folded_value) = 1)"                                   \
    " WHEN 'id' THEN instr(j.id, folded_value) = 1"                                                \
    " WHEN 'name' THEN instr(fold(j.name), folded_value) > 0"                                      \
    " WHEN 'tag' THEN EXISTS (SELECT 1 FROM json_each(j.tags) tag, json_each(term.more) asked"     \
    " WHERE tag.value = asked.value)"                                                              \
    " ELSE CASE op WHEN '<' THEN " JOB_FIELD "< value WHEN '<=' THEN " JOB_FIELD "<= value"        \
    " WHEN '>' THEN " JOB_FIELD "> value WHEN '>=' THEN " JOB_FIELD ">= value"                     \
    " ELSE EXISTS (SELECT 1 FROM json_each(term.more) asked WHERE asked.value = " JOB_FIELD        \
    " OR asked.value = CAST(" JOB_FIELD "AS TEXT)) END END "
/* Parameters ?1 to ?7, in the order of JOB_FILTER_VALUES; further ones are the statement's. State
 * names contain no comma, so a search for ',NAME,' finds whole names only. term: a row for each
 * term of the search; `value` is the first of its values. */
#define JOB_FILTER_WITH                                                                            \
    "WITH term (field, path, fallback, op, negated, value, folded_value, more) AS MATERIALIZED ("  \
    "SELECT value ->> '$.field', value ->> '$.path', value ->> '$.fallback', value ->> '$.op',"    \
    " value ->> '$.not', value ->> '$.values[0]', fold(value ->> '$.values[0]'),"                  \
    " value -> '$.values' FROM json_each(?4)) "
#define JOB_FILTER                                                                                 \
    " (?1 IS NULL OR instr(',' || ?1 || ',', ',' || j.state || ',') > 0)"                          \
    " AND (?2 IS NULL OR j.user = ?2)"                                                             \
    " AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(j.tags) WHERE value = ?3))"               \
    " AND (?4 IS NULL OR NOT EXISTS (SELECT 1 FROM term"                                           \
    " WHERE coalesce(" JOB_FITS ", 0) = negated))"                                                 \
    " AND (?5 = 0 OR j.seq < ?5)"                                                                  \
    " AND (?6 IS NULL OR s.id = ?6)"                                                               \
    " AND (?7 IS NULL OR j.id IN (SELECT value FROM json_each(?7)))"
#define JOB_FILTER_VALUES(f)                                                                       \
    value_text((f)->state), value_text((f)->user), value_text((f)->tag), value_text((f)->terms),   \
        value_integer((f)->before_seq), value_text((f)->sweep), value_text((f)->ids)

#endif
