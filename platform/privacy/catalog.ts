/** What a database says about itself: the ground that annotations are checked against. */
export interface Catalog {
  readonly relations: readonly Relation[];
}

export type RelationKind = 'table' | 'partitioned-table' | 'view' | 'materialized-view' | 'foreign-table';

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

export interface Relation extends RelationName {
  readonly kind: RelationKind;
  /** The table that this is a partition of, or inherits from: its rows are that table's rows too. */
  readonly parent: RelationName | null;
  readonly columns: readonly Column[];
  readonly primaryKey: readonly string[] | null;
  /** Sets of columns no two rows agree in, the primary key among them. Partial and expression indexes do not count. */
  readonly uniqueKeys: readonly (readonly string[])[];
  readonly foreignKeys: readonly ForeignKey[];
  /** What a view reads, through other views too. */
  readonly reads: readonly RelationName[];
  /** Names of triggers that people made. */
  readonly triggers: readonly string[];
  readonly rowSecurity: boolean;
}

export interface Column {
  readonly name: string;
  /** As PostgreSQL writes it, e.g. `character varying(100)`. */
  readonly type: string;
  /** The type without length, domains resolved, e.g. `varchar`, `_text`. */
  readonly baseType: string;
  /** PostgreSQL's category of the base type (pg_type.typcategory): `S` string, `N` number, `D` date, `B` boolean, `E` enum, `A` array, `U` other. */
  readonly typeCategory: string;
  /** Longest text, characters; null without a limit. */
  readonly length: number | null;
  readonly nullable: boolean;
  /** Computed from other columns: never written, changes with them. */
  readonly generated: boolean;
  /** GENERATED ALWAYS AS IDENTITY: an ordinary update is refused. */
  readonly identityAlways: boolean;
  /** Whether a CHECK constraint of the table or of its domain looks at it. */
  readonly checked: boolean;
}

export type ForeignKeyAction = 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';

export interface ForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly target: RelationName;
  readonly targetColumns: readonly string[];
  readonly onDelete: ForeignKeyAction;
  readonly onUpdate: ForeignKeyAction;
  readonly deferrable: boolean;
}

/** `schema.table`, quoted where PostgreSQL wants it. */
export function qualified({ schema, name }: RelationName): string {
  return `${identifier(schema)}.${identifier(name)}`;
}

/** An identifier as PostgreSQL reads it back; keywords are quoted by {@link quoted} only, where SQL is made. */
export function identifier(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : quoted(name);
}

/** An identifier for SQL that is sent, always quoted. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A relation for SQL that is sent. */
export function quotedRelation({ schema, name }: RelationName): string {
  return `${quoted(schema)}.${quoted(name)}`;
}
