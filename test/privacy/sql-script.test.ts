import { describe, expect, it } from 'vitest';
import { ScriptError, statementsOf } from '../../deploy/local/sql-script.ts';

const cut = (script: string): string[] => [...statementsOf(script)].map(({ sql }) => sql);

describe('statements of a script', () => {
  it('end at semicolons outside of texts, names, comments and parentheses', () => {
    expect(cut(`select ';', "a;b" -- c;d\n; select /* ; /* nested ; */ */ 1;select (1;2);`)).toEqual([`select ';', "a;b" -- c;d`, 'select /* ; /* nested ; */ */ 1', 'select (1;2)']);
  });

  it('keep quotes, escapes and dollar quotes whole', () => {
    expect(cut(`select 'it''s;', E'\\';', e'\\\\';select $$a;$b$;$$, $b$;$$;$b$, a$1 from t;`)).toEqual([`select 'it''s;', E'\\';', e'\\\\'`, 'select $$a;$b$;$$, $b$;$$;$b$, a$1 from t']);
  });

  it('keep the body of a SQL function whole, cases and all', () => {
    const body = `create or replace function f(x int) returns int language sql begin atomic select case when x > 1 then 2 else 3 end; select 4; end`;
    expect(cut(`${body}; select 1`)).toEqual([body, 'select 1']);
    expect(cut('begin; select 1; end; select 2')).toEqual(['begin', 'select 1', 'end', 'select 2']);
  });

  it('carry the rows of a COPY, and leave psql its own commands', () => {
    const script = `\\restrict abc\nset x = 1;\ncopy public.t (a) from stdin;\n1;2\n\\N\n\\.\n\\connect other\ncopy t from stdin;\n\\.\nselect 3;\n\\unrestrict abc\n`;
    expect([...statementsOf(script)]).toEqual([
      { sql: 'set x = 1', line: 2, copied: null },
      { sql: 'copy public.t (a) from stdin', line: 3, copied: '1;2\n\\N\n' },
      { sql: 'copy t from stdin', line: 8, copied: '' },
      { sql: 'select 3', line: 10, copied: null },
    ]);
  });

  it('are none in comments alone, and a last one needs no semicolon', () => {
    expect(cut('-- nothing\n;;/* here */;')).toEqual([]);
    expect(cut('\uFEFFselect 1')).toEqual(['select 1']);
  });

  it.each([["select 'a", 'a quoted text'], ['select /* /* */', 'a comment'], ['select $x$ $y$', 'a dollar-quoted text'], ['copy t from stdin;\n1\n', 'the rows of a COPY']])('%s is refused', (script, what) => {
    expect(() => cut(script)).toThrow(ScriptError);
    expect(() => cut(`\n${script}`)).toThrow(`${what} that begins on line 2 never ends`);
  });
});
