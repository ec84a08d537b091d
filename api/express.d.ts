declare global {
  namespace Express {
    interface Request {
      /** Given by the client in X-Request-Id, or made here. */
      id: string;
    }
  }
}

export {};
