"""The sweep file: its schema, its errors with line and column, and the checked specification that comes out."""
