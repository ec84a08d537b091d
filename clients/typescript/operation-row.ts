/** What is needed to send an operation of the API without its types. */
export interface OperationRow {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** OpenAPI template, e.g. `/v1/runs/{id}`. */
  readonly path: string;
  /** Resource it belongs to. */
  readonly tag: string;
  readonly summary: string;
  readonly parameters: readonly OperationParameter[];
  /** Media types the body may have; the first is the usual one. */
  readonly body?: { readonly types: readonly string[]; readonly required: boolean };
  /** It answers `{items, nextCursor}`. */
  readonly pages?: true;
}

export interface OperationParameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  /** JSON type; default `string`. */
  readonly type?: string;
  readonly description?: string;
}
