/** tidegate: the lifecycle of a gateway, for Node. */
export {}
