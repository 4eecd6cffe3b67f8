module monorepo

go 1.26.0
